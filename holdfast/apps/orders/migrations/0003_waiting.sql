-- Who came too late and waits for stock that returns; each for one unit, in the order of numbers.
CREATE TABLE waiting (
  offer_id uuid NOT NULL REFERENCES offers,
  customer_id uuid NOT NULL,
  number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  since timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (offer_id, customer_id)
);
CREATE UNIQUE INDEX waiting_by_number ON waiting (offer_id, number);

-- How many units of an offer a customer has, which is what a limit counts.
CREATE VIEW possessions AS
SELECT item.offer_id, item.customer_id, sum(item.quantity)::bigint AS units
FROM order_items AS item JOIN orders ON orders.id = item.order_id
WHERE orders.status IN ('reserved', 'paid')
GROUP BY item.offer_id, item.customer_id;

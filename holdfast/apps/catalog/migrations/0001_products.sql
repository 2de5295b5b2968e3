CREATE TABLE products (
  id uuid PRIMARY KEY DEFAULT uuidv7(),
  name text NOT NULL,
  description text NOT NULL DEFAULT '',
  category text NOT NULL,
  price_krw bigint NOT NULL CHECK (price_krw >= 0),
  stock bigint NOT NULL CHECK (stock >= 0),  -- how many were ever put up for sale at this price
  created_at timestamptz NOT NULL DEFAULT now(),
  changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX products_by_price ON products (price_krw, id);
CREATE INDEX products_by_name ON products (name, id);
CREATE INDEX products_of_category ON products (category, id);
CREATE INDEX products_of_category_by_price ON products (category, price_krw, id);
CREATE INDEX products_of_category_by_name ON products (category, name, id);

-- How many there are, so that no page has to count them. Kept by the statements that write products.
CREATE TABLE categories (
  name text PRIMARY KEY,
  products bigint NOT NULL             -- no CHECK: it would refuse a row to subtract by, too
);

-- By one statement in one order of names, so that no two writers ever wait for each other; and a
-- category that only stays as large as it is makes nobody wait.
CREATE FUNCTION count_categories(made text[], removed text[]) RETURNS void LANGUAGE sql AS $$
  INSERT INTO categories AS known
  SELECT name, sum(n)
  FROM (SELECT unnest(made) AS name, 1 AS n UNION ALL SELECT unnest(removed), -1) AS counted
  GROUP BY name HAVING sum(n) <> 0 ORDER BY name
  ON CONFLICT (name) DO UPDATE SET products = known.products + excluded.products
$$;

CREATE FUNCTION count_products() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  CASE TG_OP
    WHEN 'INSERT' THEN
      PERFORM count_categories(array(SELECT category FROM made), '{}');
    WHEN 'DELETE' THEN
      PERFORM count_categories('{}', array(SELECT category FROM removed));
    ELSE
      PERFORM count_categories(
        array(SELECT category FROM made), array(SELECT category FROM removed)
      );
  END CASE;
  RETURN NULL;
END $$;
CREATE TRIGGER count_made AFTER INSERT ON products
  REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION count_products();
CREATE TRIGGER count_removed AFTER DELETE ON products
  REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_products();
CREATE TRIGGER count_moved AFTER UPDATE ON products
  REFERENCING NEW TABLE AS made OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION count_products();

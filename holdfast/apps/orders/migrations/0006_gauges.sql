-- Since when a payment has been open, so that one which stays so is noticed.
ALTER TABLE payments ADD COLUMN open_since timestamptz NOT NULL DEFAULT now();

-- Of all deals that there ever were, those that are not over.
CREATE INDEX offers_closing ON offers (closes_at) WHERE kind = 'deal';

-- How many customers a second the deal's waiting room lets in to order; NULL: it has none.
ALTER TABLE deals ADD COLUMN admit_per_s integer CHECK (admit_per_s BETWEEN 1 AND 10000);

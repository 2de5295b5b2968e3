-- name: insert_products :many
-- In the order given.
-- row: Product
INSERT INTO products (name, description, category, price_krw, stock)
SELECT
  unnest(@names::text[]), unnest(@descriptions::text[]), unnest(@categories::text[]),
  unnest(@prices_krw::bigint[]), unnest(@stocks::bigint[])
RETURNING id, name, description, category, price_krw, stock, created_at, changed_at;

-- name: select_product :one
-- row: Product
SELECT id, name, description, category, price_krw, stock, created_at, changed_at
FROM products WHERE id = @id;

-- name: lock_product :one
-- As it is when everybody who came before is done; until commit nobody makes a deal of it.
-- row: Product
SELECT id, name, description, category, price_krw, stock, created_at, changed_at
FROM products WHERE id = @id
FOR UPDATE;

-- name: update_product :one
-- row: Product
-- exactly one row
UPDATE products SET
  name = @name, description = @description, category = @category, price_krw = @price_krw,
  stock = @stock, changed_at = statement_timestamp()
WHERE id = @id
RETURNING id, name, description, category, price_krw, stock, created_at, changed_at;

-- name: delete_product :execrows
-- With its deals, unless one of them is open or to come.
DELETE FROM products WHERE products.id = @id AND NOT EXISTS (
  SELECT FROM deals
  WHERE product_id = products.id AND withdrawn_at IS NULL AND closes_at > clock_timestamp()
);

-- name: select_names_taken :many
-- Those of these names that products have.
SELECT DISTINCT name FROM products WHERE name = ANY(@names::text[]);

"""The shop: pages on which deals are waited for, bought, paid and proved. They ask the API from the browser."""

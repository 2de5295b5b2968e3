"""The API reference: each app's contract as a page that needs no JavaScript."""

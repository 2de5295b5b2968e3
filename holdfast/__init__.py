"""Python backends that hold when everyone comes at once."""

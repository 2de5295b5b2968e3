"""What is measured of identity; one module a claim."""

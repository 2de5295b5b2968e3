"""The front door: all apps behind one address, with a home page and the API reference."""

"""The home page: what is running, how it fares at this moment, and how to try it."""

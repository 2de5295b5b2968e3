"""What must hold for the whole repository, checked by `pytest checks`."""

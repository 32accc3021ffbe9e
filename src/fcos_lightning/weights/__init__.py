"""State dicts: read safely, renamed, compared."""

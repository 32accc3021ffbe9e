"""``fcos-explain``: from a configuration to the page."""

"""A run from configuration to report."""

"""Layouts of checkpoints of other projects; one family in a file."""

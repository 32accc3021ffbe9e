"""Callbacks of training; one in a file."""

"""Losses; one in a file."""

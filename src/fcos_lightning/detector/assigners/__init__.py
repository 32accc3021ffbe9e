"""Assigners: which box each point answers for; one label mapping in a file."""

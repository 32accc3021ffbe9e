"""Configurations: composed, stored, and the words that they are made of."""

"""Finished runs read back, to be held against each other."""

"""Heads: feature maps -> what is predicted at every point; one in a file."""

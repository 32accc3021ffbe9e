"""Layers that several parts of a net use."""

"""Runs beside one another: what was set otherwise, what came of it, and whether that is chance."""

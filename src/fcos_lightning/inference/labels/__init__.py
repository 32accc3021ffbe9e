"""Detections as labels: one file for each format that data sets and labelling tools read."""

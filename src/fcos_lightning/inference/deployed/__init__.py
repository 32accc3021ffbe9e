"""A detector as one file that gives final boxes, for programs that do not have this package."""

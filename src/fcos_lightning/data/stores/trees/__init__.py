"""A folder on object storage as it lies there: listed, mirrored by its names, and read."""

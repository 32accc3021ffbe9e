"""The data set that is drawn: no download, the same for everybody."""

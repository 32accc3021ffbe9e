"""Files of annotations to a split; one layout of files in a module."""

"""What is in a folder: which layout of files, and which sets of images."""

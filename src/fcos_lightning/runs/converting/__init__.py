"""``fcos-convert`` where it writes a file for other programs."""

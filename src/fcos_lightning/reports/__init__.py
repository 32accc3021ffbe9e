"""Pages that people look at: single files that open from the disk, with their numbers as JSON."""

"""From the images of a split to batches that a detector learns from or is measured on."""

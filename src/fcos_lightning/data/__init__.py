"""From files on disk to images and ground truth."""

"""Where the boxes and arrows of a picture go; `scripts/architecture.py` draws them."""

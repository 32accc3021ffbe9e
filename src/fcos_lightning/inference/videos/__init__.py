"""Videos and streams, and what is followed through them."""

"""Training images made of several: mosaics, mixtures, pasted objects."""

"""Decoders: from predictions to the boxes that are reported; one in a file."""

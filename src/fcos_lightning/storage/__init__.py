"""Files that are written whole or not at all: drafts, caches, downloads, archives."""

"""Large images in pieces, so that their small objects are seen as large as they are."""

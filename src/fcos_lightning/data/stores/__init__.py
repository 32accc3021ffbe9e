"""Where the bytes of images are: files of their own, or shards, here or on object storage."""

"""What clients send: read, fetched and decoded within bounds."""

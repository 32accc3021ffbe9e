"""Which settings there are, and which of Lightning's own do what they say in a run."""

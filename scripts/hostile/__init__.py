"""Files that nobody should have to be afraid of: made by hand, and mutated at random."""

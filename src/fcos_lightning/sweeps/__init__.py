"""Many runs of one command: grids, searches, what became of each."""

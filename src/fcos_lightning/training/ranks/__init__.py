"""A run of several processes: what they decide, sum up and do when one is lost."""

"""What the matches of a data set say beyond AP: thresholds, confusions, errors and their cost."""

"""What is wrong with a data set, before anything learns from it; nothing is written into it."""

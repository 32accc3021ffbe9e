"""Training with Lightning: the module, the schedule, and callbacks."""

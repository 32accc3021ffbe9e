"""What a configuration names, made: the detector, the Trainer, the user's own."""

"""What is looked for; one kind of thing in a module."""

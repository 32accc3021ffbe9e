"""What ``interrupt_runs.py`` and the tests share."""

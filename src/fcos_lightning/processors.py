"""How many processors there are to share out. Costs no import of torch."""

from __future__ import annotations

import os


def processor_count() -> int:
    """Return how many this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

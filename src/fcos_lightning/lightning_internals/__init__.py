"""All that the package takes from Lightning beyond what Lightning promises to keep.

Each function says what Lightning offers in public and why that is not enough, and has a test of its
name. ``pyproject.toml`` allows only the minor version that these were read in: before it is raised,
``tests/test_lightning_internals.py`` has to pass with the new one.
"""

from __future__ import annotations

from fcos_lightning.lightning_internals.logs import (
    ContinuingCSVLogger,
    purge_from,
)
from fcos_lightning.lightning_internals.loops import (
    LastValidation,
    as_after_epoch,
    as_after_validation,
    as_before_validation,
    as_between_batches,
    fit_loop_state,
    place_in_run,
    steps_logged,
    stored_fit_loop,
)
from fcos_lightning.lightning_internals.processes import (
    processes_started,
    signals_left_alone,
)
from fcos_lightning.lightning_internals.showing import (
    ProgressBarFromOne,
)
from fcos_lightning.lightning_internals.taking_over import (
    MODEL_CHECKPOINT_STATE,
    was_restoring,
)

__all__ = [
    "MODEL_CHECKPOINT_STATE",
    "ContinuingCSVLogger",
    "LastValidation",
    "ProgressBarFromOne",
    "as_after_epoch",
    "as_after_validation",
    "as_before_validation",
    "as_between_batches",
    "fit_loop_state",
    "place_in_run",
    "processes_started",
    "purge_from",
    "signals_left_alone",
    "steps_logged",
    "stored_fit_loop",
    "was_restoring",
]

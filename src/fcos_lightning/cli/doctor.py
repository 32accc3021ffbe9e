"""``fcos-doctor``: what is wrong with a data set, before anything learns from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fcos_lightning.signals import stopped_in_one_line

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Entry point of the command."""
    with stopped_in_one_line():
        from fcos_lightning.cli.app import run

        run(doctor, "doctor")


def doctor(config: DictConfig) -> None:
    """Look at a data set, print what is wrong, and end with the status that says so."""
    # Imported here, because this costs seconds that help and mistakes should not.
    from fcos_lightning.runs.examining import examined

    status = examined(config)
    if status:
        raise SystemExit(status)


if __name__ == "__main__":
    main()

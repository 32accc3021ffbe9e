"""``fcos-report``: a page of what a checkpoint learnt, where it fails and what to do next."""

from __future__ import annotations

from fcos_lightning.cli.test import run_with_data_of_checkpoint, test
from fcos_lightning.runs.ranks import is_first_process
from fcos_lightning.signals import stopped_in_one_line


def main() -> None:
    """Entry point of the command."""
    # The figures come with it, so it is fcos-test with another name and report=true.
    with stopped_in_one_line(is_first_process):
        run_with_data_of_checkpoint(test, "report")


if __name__ == "__main__":
    main()

"""``fcos-report``: a page of what a checkpoint learnt, where it fails and what to do next."""

from __future__ import annotations

from fcos_lightning.cli.test import run_with_data_of_checkpoint, test


def main() -> None:
    """Entry point of the command."""
    # The figures come with it, so it is fcos-test with another name and report=true.
    run_with_data_of_checkpoint(test, "report")


if __name__ == "__main__":
    main()

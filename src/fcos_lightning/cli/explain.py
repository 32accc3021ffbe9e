"""``fcos-explain``: which points answer for which box, and why objects were missed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fcos_lightning.signals import stopped_in_one_line

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Entry point of the command."""
    with stopped_in_one_line():
        from fcos_lightning.cli.test import run_with_data_of_checkpoint

        words = [word.partition("=")[0] for word in sys.argv[1:]]
        if "ckpt" in words:
            _choose_method(words)
        run_with_data_of_checkpoint(explain, "explain")


def _choose_method(given: list[str]) -> None:
    """Compose the checkpoint's own method, so that ``model.assigner.KEY=`` is one of its options.

    Nothing else of ``model`` is looked at: the net is the checkpoint's.
    """
    from fcos_lightning.cli.app import fail_if_refused
    from fcos_lightning.cli.test import read_once
    from fcos_lightning.runs.config.words import text_of
    from fcos_lightning.runs.explaining.methods import choices_of

    words = {word.partition("=")[0]: text_of(word) for word in sys.argv[1:] if "=" in word}
    try:
        choices = choices_of(read_once(words["ckpt"], words.get("recipe")))
    except Exception as error:
        fail_if_refused(error)
        raise
    at = next(place for place, word in enumerate(sys.argv) if word.startswith("ckpt="))
    sys.argv[at:at] = [f"{key}={name}" for key, name in choices.items() if key not in given]


def explain(config: DictConfig) -> None:
    """Write the page and its numbers, and say where."""
    # Imported here, because this costs seconds that help and mistakes should not.
    from fcos_lightning.runs.explaining.command import carried_out

    carried_out(config)


if __name__ == "__main__":
    main()

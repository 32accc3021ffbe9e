"""``fcos-train``: from a configuration to a trained and evaluated detector."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fcos_lightning.cli.app import run

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Entry point of the command."""
    from fcos_lightning.cli import sweep

    if sweep.is_sweep(sys.argv[1:]):
        sweep.main(sys.argv[1:])
    run(train, "train")


def train(config: DictConfig) -> None:
    """Train a detector as configured, then evaluate its best checkpoint."""
    # Imported here, because this costs seconds that help and mistakes should not.
    from pathlib import Path

    from fcos_lightning.runs.folder import new_run_folder, removed_if_refused, save_config
    from fcos_lightning.runs.opaque import opaque_text
    from fcos_lightning.runs.resuming import continued
    from fcos_lightning.runs.session import Session

    resumed = config.resume is not None
    if resumed:
        if config.init_from is not None:
            _refuse_both()
        folder = Path(str(config.resume)).absolute()
        config = continued(config, folder)
    session = Session.prepare(config, resumed)
    if resumed:
        trainer = session.make_trainer()
    else:
        # Of runs/<name>/<time>, what is there already stays because it is not empty.
        made = 3 if config.run_dir is None else 0 if Path(config.run_dir).exists() else 1
        folder = new_run_folder(config.run_dir, config.name)
        config.run_dir = opaque_text(str(folder))
        with removed_if_refused(folder, made):
            trainer = session.make_trainer()
        save_config(config, folder)
    session.fit(trainer, folder, resumed)
    session.report(folder)


def _refuse_both() -> None:
    from fcos_lightning.errors import UserError

    raise UserError(
        "resume= goes on with a run in its folder, init_from= starts a new one from weights; "
        "give one of the two"
    )


if __name__ == "__main__":
    main()

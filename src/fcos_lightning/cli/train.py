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

    from fcos_lightning.runs.folder import (
        load_config,
        new_run_folder,
        removed_if_refused,
        save_config,
    )
    from fcos_lightning.runs.session import Session

    resumed = config.resume is not None
    if resumed:
        if config.init_from is not None:
            _refuse_both()
        folder = Path(str(config.resume)).absolute()
        config = _continued(config, load_config(folder))
    session = Session.prepare(config, resumed)
    if resumed:
        config.run_dir = str(folder)
        trainer = session.make_trainer()
    else:
        # Of runs/<name>/<time>, what is there already stays because it is not empty.
        made = 3 if config.run_dir is None else 0 if Path(config.run_dir).exists() else 1
        folder = new_run_folder(config.run_dir, config.name)
        config.run_dir = str(folder)
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


def _continued(given: DictConfig, stored: DictConfig) -> DictConfig:
    """Return the run's own configuration; only where it runs may be chosen anew.

    Raises:
        UserError: if anything else was given beside ``resume``.
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from fcos_lightning.errors import UserError

    movable = ("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy")
    for override in HydraConfig.get().overrides.task:
        key = override.split("=", 1)[0].lstrip("+~")
        if key in (*movable, "data.num_workers"):
            OmegaConf.update(stored, key, OmegaConf.select(given, key))
        elif key != "resume":
            raise UserError(
                f"{key}: resume= goes on with the run's own configuration; beside it only "
                f"{', '.join(movable)} and data.num_workers may be given; to change "
                "more, start a new run with init_from=CHECKPOINT"
            )
    return stored


if __name__ == "__main__":
    main()

"""The configuration of a run, told to its loggers: plain values, and none that is secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf

from fcos_lightning.training.loggers.csv_log import RunCSVLogger

#: Where and under whose name something is logged, and what only this machine knows.
_LEFT_OUT = ("logger", "run_dir", "resume", "trusted_packages")
_SECRET_KEY = re.compile(
    r"(^|[_.-])(api_?key|token|secret|passw(or)?d|credentials?|auth)s?($|[_.-])", re.IGNORECASE
)
_SECRET_VALUE = re.compile(r"://[^/\s]*@")
Plain = str | int | float | bool


def log_configuration(trainer: L.Trainer, config: DictConfig) -> None:
    """Tell every logger what the run is made of; ``config.yaml`` lies beside ``metrics.csv``."""
    settings = shown_settings(config)
    for logger in trainer.loggers:
        if isinstance(logger, RunCSVLogger):
            continue
        if isinstance(logger, TensorBoardLogger) and _told_tensorboard(logger, settings):
            continue
        logger.log_hyperparams(dict(settings))


def shown_settings(config: DictConfig) -> dict[str, Plain]:
    """Return the configuration in one level, ``schedule.lr`` and so on, as a command gives it.

    Left out is what a logger itself is told, what is called like a secret or holds one, and what
    comes from the environment.
    """
    raw: Any = OmegaConf.to_container(config, resolve=False)
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    looked_up = {key for key, value in _leaves(raw) if "${oc.env:" in str(value)}
    return {
        key: value if isinstance(value, bool | int | float) else str(value)
        for key, value in _leaves(resolved)
        if value is not None
        and key.split(".")[0] not in _LEFT_OUT
        and key not in looked_up
        and not _SECRET_KEY.search(key)
        and not _SECRET_VALUE.search(str(value))
    }


def _leaves(tree: object, key: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(tree, list) and any(isinstance(item, dict) for item in tree):
        for index, value in enumerate(tree):
            yield from _leaves(value, f"{key}.{index}")
    else:
        yield key, tree


def _told_tensorboard(logger: TensorBoardLogger, settings: dict[str, Plain]) -> bool:
    """Write the table of settings; Lightning's own way adds a point of a figure that nobody has."""
    try:
        from torch.utils.tensorboard.summary import hparams
    except ImportError:
        return False
    for summary in hparams(settings, {"val/AP": 0.0}):  # type: ignore[no-untyped-call]
        logger.experiment.file_writer.add_summary(summary)
    return True

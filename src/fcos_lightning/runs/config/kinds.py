"""Of what kind the settings of a run are, beside the arguments of what they make.

Those are checked as they are made; these are read by the commands themselves.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from fcos_lightning.arguments import described, fits
from fcos_lightning.errors import UserError
from fcos_lightning.printing import printable

#: Those that numpy's generators begin with.
_SEEDS = 2**32

_Parts = Mapping[str, Any]

#: Settings that every run has.
NEEDED: dict[str, Any] = {
    "name": str | int | float,
    "seed": int,
    "channels_last": bool | Literal["auto"],
    "model": _Parts,
    "data": _Parts,
    "schedule": _Parts,
    "trainer": _Parts,
    "trainer.accelerator": str,
    "trainer.enable_progress_bar": bool,
}
#: Settings that may be absent, as in runs of earlier versions.
OTHERS: dict[str, Any] = {
    "run_dir": str | None,
    "init_from": str | None,
    "moving_normaliser": float | None,
    "activation_checkpointing": bool,
    "augment": _Parts | None,
    "callbacks": _Parts | None,
    "logger": _Parts | None,
    "model.backbone": _Parts | None,
    "data.shorter_side": int,
    "data.longer_side": int,
    "data.class_names": list[str] | None,
    "trainer.strategy": str | _Parts,
    "trainer.compile": bool | None,
    "trainer.sync_batchnorm": bool,
    "trainer.max_epochs": int | None,
    "trainer.max_steps": int | None,
}


#: Of the commands that look at a checkpoint, where they have them.
OF_COMMANDS: dict[str, Any] = {
    "name": str | int | float,
    "seed": int,
    "recipe": str | None,
    "score_threshold": float,
    "draw": bool,
    "save": str | list[str],
    "save_images": bool,
    "tiles": str | None,
    "tracker": str | None,
    "frames": int | None,
    "tiles_overlap": float,
    "strict": bool,
    "overwrite": bool,
    "page": bool,
    "decoder": _Parts | None,
    "channels_last": bool | Literal["auto"],
    "trainer": _Parts,
    "data": _Parts,
    "split": str,
    "images": int,
    "files": list[str],
    "limit": int | None,
    "test": _Parts,
    "test.sizes": list[int],
    "test.longer_side": int,
    "test.flip": bool,
    "runs": list[str],
    "average": list[str],
    "resamples": int,
    "nms": bool,
    "precision": str,
    "license": str | None,
    "onnxruntime_web": str | None,
    "host": str,
    "port": int,
    "token": str | None,
    "token_file": str | None,
    "open": bool,
    "hosts": list[str],
    "delay_ms": float,
    "queue": int,
    "threads": int | None,
    "max_bytes": int,
    "max_pixels": int,
    "timeout_s": float,
    "urls": bool,
    "private_urls": bool,
}


#: What a setting may be, where its kind does not say it.
_IN_WORDS = {"tiles": "auto, height x width as 640x640, or null"}


def check_kinds(config: DictConfig) -> None:
    """Refuse settings of a kind that ``fcos-test``, ``fcos-predict`` or ``fcos-convert`` lacks.

    Raises:
        UserError: naming the first, and what it may be.
    """
    _check(config, OF_COMMANDS, needed=())


def check_settings(config: DictConfig) -> None:
    """Refuse settings of a kind that no run can be made of.

    Raises:
        UserError: naming the first, and what it may be.
    """
    _check(config, {**NEEDED, **OTHERS}, needed=NEEDED)
    if not 0 <= config.seed < _SEEDS:
        raise UserError(f"seed={config.seed}: give a whole number from 0 to {_SEEDS - 1}")


def _check(config: DictConfig, hints: Mapping[str, Any], needed: Container[str]) -> None:
    for key, hint in hints.items():
        before, _, last = key.rpartition(".")
        parent: Any = OmegaConf.select(config, before) if before else config
        if not isinstance(parent, DictConfig) or last not in parent:
            if key in needed:
                raise UserError(f"{key} is missing from the configuration; give {described(hint)}")
            continue
        value: Any = parent[last]
        if OmegaConf.is_config(value):
            value = OmegaConf.to_container(value, resolve=True)
        if not fits(value, hint):
            may_be = _IN_WORDS.get(key) or described(hint)
            raise UserError(f"{key}={printable(_shown(value))}: give {may_be}")


def _shown(value: object) -> object:
    """Return a value as a command line says it."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else value

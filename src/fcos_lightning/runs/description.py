"""What a checkpoint says about its run: plain values, and how they come back.

A checkpoint names its kind of data by a choice of ``conf/data`` and keeps plain values for it.
What is called stands in the configuration files alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

import fcos_lightning
from fcos_lightning.errors import UserError
from fcos_lightning.runs.configuration import config_dir
from fcos_lightning.runs.opaque import opaque

#: The choice under which a checkpoint's data can be composed.
FROM_CHECKPOINT = "from_checkpoint"


def describe_run(config: DictConfig, channels_last: bool) -> dict[str, Any]:
    """Return what a checkpoint shall carry to be tested without further settings."""
    choices = dict(HydraConfig.get().runtime.choices) if HydraConfig.initialized() else {}
    data = OmegaConf.to_container(config.data, resolve=True)
    assert isinstance(data, dict)
    return {
        "version": fcos_lightning.__version__,
        "name": str(config.name),
        "data_choice": choices.get("data"),
        "data": {str(k): v for k, v in data.items() if not str(k).startswith("_") and _is_plain(v)},
        "shorter_side": int(config.data.shorter_side),
        "longer_side": int(config.data.longer_side),
        "channels_last": channels_last,
    }


def offer_data_of(description: Mapping[str, Any]) -> bool:
    """Let ``data=from_checkpoint`` be composed, with the values of a checkpoint.

    Returns:
        Whether the checkpoint's kind of data is one of ``conf/data``.
    """
    choice = description.get("data_choice")
    file = config_dir() / "data" / f"{choice}.yaml"
    if not choice or not str(choice).replace("_", "").isalnum() or not file.is_file():
        return False
    ours = OmegaConf.load(file)
    assert isinstance(ours, DictConfig)
    known = {str(key) for key in ours} - {"_target_"}
    base: dict[str, Any] = {}
    for parent in ours.pop("defaults", []):
        if isinstance(parent, str) and parent != "_self_":
            inherited = OmegaConf.load(config_dir() / "data" / f"{parent}.yaml")
            assert isinstance(inherited, DictConfig)
            known |= {str(key) for key in inherited} - {"_target_"}
            base.update(OmegaConf.to_container(inherited))  # type: ignore[arg-type]  # a mapping
    values = {key: value for key, value in description.get("data", {}).items() if key in known}
    if not all(_is_plain(value) for value in values.values()):
        raise UserError("the checkpoint's data settings are not plain values; give data=")
    # Text of a file, in which nothing is to be looked up.
    node = {**base, **OmegaConf.to_container(ours), **opaque(values)}  # type: ignore[dict-item]
    ConfigStore.instance().store(group="data", name=FROM_CHECKPOINT, node=OmegaConf.create(node))
    return True


def _is_plain(value: object) -> bool:
    """Tell numbers, strings and lists of them from anything that could name what to call."""
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, str | int | float | bool)

"""What a checkpoint says about its run: plain values, and how they come back.

A checkpoint names its kind of data by a choice of ``conf/data`` and keeps plain values for it.
What is called stands in the configuration files alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

import fcos_lightning
from fcos_lightning.data.stores.addresses import is_address
from fcos_lightning.errors import UserError
from fcos_lightning.printing import printable
from fcos_lightning.runs.config.composed import config_dir
from fcos_lightning.runs.config.opaque import opaque

#: The choice under which a checkpoint's data can be composed.
FROM_CHECKPOINT = "from_checkpoint"


def describe_run(config: DictConfig, channels_last: bool) -> dict[str, Any]:
    """Return what a checkpoint shall carry to be tested without further settings."""
    data = OmegaConf.to_container(config.data, resolve=True)
    assert isinstance(data, dict)
    return {
        "version": fcos_lightning.__version__,
        "name": str(config.name),
        "data_choice": _choice_of(data.get("_target_")),
        "data": {str(k): v for k, v in data.items() if not str(k).startswith("_") and _is_plain(v)},
        "shorter_side": int(config.data.shorter_side),
        "longer_side": int(config.data.longer_side),
        "channels_last": channels_last,
    }


def offer_data_of(description: Mapping[str, Any]) -> bool:
    """Let ``data=from_checkpoint`` be composed, with the values of a checkpoint.

    Returns:
        Whether the checkpoint's kind of data is one of ``conf/data``.

    Raises:
        UserError: if the values are none that a configuration could hold.
    """
    node = data_of(description)
    if node is None:
        return False
    ConfigStore.instance().store(group="data", name=FROM_CHECKPOINT, node=node)
    return True


def address_of_data(description: Mapping[str, Any]) -> str | None:
    """Return where a checkpoint's data are if that is an address; nothing is fetched unasked."""
    root = str((description.get("data") or {}).get("root"))
    return root if is_address(root) else None


def data_of(description: Mapping[str, Any]) -> DictConfig | None:
    """Return the configuration of a checkpoint's data; None: its kind is none of ``conf/data``.

    Raises:
        UserError: if the values are none that a configuration could hold.
    """
    choice, data = description.get("data_choice"), description.get("data", {})
    if not isinstance(choice, str) or choice not in _choices():
        return None
    if not isinstance(data, dict):
        raise UserError("its settings of the data are no mapping; give data=NAME and data.root=DIR")
    ours = _choice(choice)
    values = {key: data[key] for key in ours if key in data and key != "_target_"}
    for key, value in values.items():
        if not _is_plain(value):
            raise UserError(
                f"its settings of the data hold {printable(key)}, which is no plain value; give "
                "data=NAME and data.root=DIR"
            )
    # Text of a file, in which nothing is to be looked up.
    node = OmegaConf.merge(ours, opaque(values))
    assert isinstance(node, DictConfig)
    return node


def _choice_of(target: object) -> str | None:
    """Return the file of ``conf/data`` that calls a data module; None: it is not one of ours.

    Not what the command line chose: a run that is gone on with chose its data when it began.
    """
    return next((name for name in _choices() if _choice(name).get("_target_") == target), None)


def _choices() -> list[str]:
    return sorted(file.stem for file in (config_dir() / "data").glob("*.yaml"))


def _choice(name: str) -> DictConfig:
    """Return what a file of ``conf/data`` and those that it builds on hold."""
    ours = OmegaConf.load(config_dir() / "data" / f"{name}.yaml")
    assert isinstance(ours, DictConfig)
    parents = [str(parent) for parent in ours.pop("defaults", []) if parent != "_self_"]
    whole = OmegaConf.merge(*(_choice(parent) for parent in parents), ours)
    assert isinstance(whole, DictConfig)
    return whole


def _is_plain(value: object) -> bool:
    """Tell numbers, strings and lists of them from anything that could name what to call."""
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, str | int | float | bool)

"""``resume=``: which configuration a run goes on with, and what of it may be chosen anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fcos_lightning.errors import UserError
from fcos_lightning.runs.opaque import opaque
from fcos_lightning.runs.stored_config import as_config, load_config, outside
from fcos_lightning.runs.words import quoted
from fcos_lightning.storage.run_folder import RunFolder

#: Where a run goes on may be another place than where it began.
MOVABLE = (
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "data.num_workers",
)
#: What a run appends to or fills, whatever its configuration says.
_FILLED = ("checkpoints", RunFolder.METRICS_CSV)


def continued(given: DictConfig, folder: Path) -> DictConfig:
    """Return the run's own configuration, of which nothing is looked up or trusted.

    Args:
        given: what the command line composes.
        folder: of the run.

    Raises:
        UserError: if the folder is none that can go on, anything else was given beside ``resume``,
            or the run would write outside of its folder where the command line does not say so.
    """
    stored = load_config(folder)
    if "model" in stored:
        stored["model"] = _without_weights(stored["model"])
    config = as_config(stored)
    elsewhere = dict(outside(stored, folder))
    said = set()
    words: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    for word in words:
        key = word.split("=", 1)[0].lstrip("+~")
        if key in ("resume", "trusted_packages"):
            continue
        value = _plain(given, key)
        silenced = key.startswith("logger.") and key.count(".") == 1 and value is None
        if not (key in MOVABLE or key in elsewhere or silenced or _repeats(config, key, value)):
            raise UserError(
                f"{key}: resume= goes on with the run's own configuration; beside it only "
                f"{', '.join(MOVABLE[:-1])} and {MOVABLE[-1]} may be given, and "
                "++logger.NAME=null; to change more, start a new run with init_from=CHECKPOINT"
            )
        OmegaConf.update(config, key, opaque(value))
        said.add(key)
    unsaid = {key: value for key, value in elsewhere.items() if key not in said}
    if unsaid:
        key, value = next(iter(unsaid.items()))
        again = " ".join(f"++{quoted(key, value)}" for key, value in unsaid.items())
        raise UserError(
            f"resume={folder}: {key} is {value}, outside of the run folder, which a stored "
            f"configuration cannot ask for; if it is yours, add to the command line: {again}"
        )
    _check_links(folder, said)
    return config


def _without_weights(model: Any) -> Any:  # noqa: ANN401  # a plain tree
    """Leave out which weights our own nets began with, as ``imagenet`` or a path.

    All weights are in the checkpoint: nothing is fetched or read because a folder says so.
    """
    if isinstance(model, list):
        return [_without_weights(item) for item in model]
    if not isinstance(model, dict):
        return model
    ours = str(model.get("_target_", "fcos_lightning.")).startswith("fcos_lightning.")
    return {
        key: None if ours and key == "weights" else _without_weights(value)
        for key, value in model.items()
    }


def _check_links(folder: Path, said: set[str]) -> None:
    """Refuse links that lead outside, in place of what a run writes to.

    Raises:
        UserError: naming the first.
    """
    for name in _FILLED:
        path = folder / name
        if name == "checkpoints" and "callbacks.last.folder" in said:
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(
                f"resume={folder}: {name} is a link to {path.resolve()}, outside of the run "
                "folder; put there what it links to"
            )


def _plain(config: DictConfig, key: str) -> Any:  # noqa: ANN401  # a plain value or tree
    value: Any = OmegaConf.select(config, key)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _repeats(config: DictConfig, key: str, value: object) -> bool:
    """Tell whether a word says again what the run has, as the jobs of a sweep do."""
    parent, _, last = key.rpartition(".")
    inside: Any = OmegaConf.select(config, parent) if parent else config
    known = isinstance(inside, DictConfig) and last in inside
    return known and _plain(config, key) == value

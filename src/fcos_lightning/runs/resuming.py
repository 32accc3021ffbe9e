"""``resume=``: which configuration a run goes on with, and what of it may be chosen anew."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fcos_lightning.data.stores.addresses import is_address
from fcos_lightning.errors import UserError
from fcos_lightning.runs.config.opaque import opaque
from fcos_lightning.runs.config.stored import (
    as_config,
    load_config,
    outside,
    plain_yaml,
    read_plain_yaml,
)
from fcos_lightning.runs.config.words import quoted
from fcos_lightning.runs.objects.detectors import refuse_likeness
from fcos_lightning.runs.objects.instantiate import check_targets, trusted_packages
from fcos_lightning.runs.ranks import is_first_process
from fcos_lightning.storage.replacing import write_whole
from fcos_lightning.storage.run_folder import RunFolder

#: Where a run goes on may be another place than where it began, and so may its data.
DATA_ROOT = "data.root"
MOVABLE = (
    DATA_ROOT,
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "data.num_workers",
    "data.cache_gb",
)
#: A run may become longer while it goes on, and stays so.
LENGTHS = ("schedule.max_epochs", "schedule.max_steps", "trainer.max_epochs", "trainer.max_steps")
#: How a logger is left out.
SILENCE = "++logger.NAME=null"
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
    refuse_likeness(stored, folder)
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
        if key == DATA_ROOT and isinstance(value, str):
            value = value if is_address(value) else str(Path(value).absolute())
        fine = key in MOVABLE or key in elsewhere or silenced
        if not fine and not _repeats(config, key, value):
            if key not in LENGTHS:
                raise UserError(
                    f"{key}: resume= goes on with the run's own configuration; to change more, "
                    "start a new run with init_from=CHECKPOINT; beside resume= there are",
                    choices=(*MOVABLE, *(f"a longer {one}" for one in LENGTHS[:2]), SILENCE),
                )
            _check_longer(config, key, value)
        OmegaConf.update(config, key, opaque(value))
        said.add(key)
    # What may not be called at all needs no advice on where it may write.
    for part in config:
        check_targets(_plain(config, str(part)), str(part), trusted_packages())
    unsaid = {key: value for key, value in elsewhere.items() if key not in said}
    if unsaid:
        key, value = next(iter(unsaid.items()))
        again = " ".join(f"++{quoted(key, value)}" for key, value in unsaid.items())
        raise UserError(
            f"resume={folder}: {key} is {value}, outside of the run folder, which a stored "
            "configuration cannot ask for; if it is yours, add to the command line:",
            pasted=again,
        )
    _check_links(folder, said)
    return config


def keep_length(config: DictConfig, folder: Path, given: Collection[str]) -> None:
    """Write down how long the run is now, so that it stays so when it goes on once more.

    Args:
        config: it goes on with.
        folder: of the run.
        given: keys that the command line gives.

    Raises:
        UserError: if it cannot be written.
    """
    longer = [key for key in LENGTHS if key in given]
    if not longer or not is_first_process():
        return
    file = RunFolder(folder).config
    tree = read_plain_yaml(file)
    for key in longer:
        part, _, name = key.partition(".")
        tree[part][name] = _plain(config, key)
    write_whole(plain_yaml(tree), file)


def _check_longer(config: DictConfig, key: str, value: object) -> None:
    """Refuse another length than a greater one of the same kind.

    Raises:
        UserError: saying which can be given.
    """
    before = _plain(config, key)
    part, _, name = key.partition(".")
    overruled = OmegaConf.select(config, f"trainer.{name}") if part == "schedule" else None
    known = [f"{k}={_plain(config, k)}" for k in LENGTHS if _plain(config, k) is not None]
    if before is None or overruled is not None:
        raise UserError(
            f"{key}={value}: this run's length is {' and '.join(known)}; give more there"
        )
    if not isinstance(value, int) or isinstance(value, bool) or value < before:
        raise UserError(
            f"{key}={value}: the run is {before} long, and can only become longer while it goes on"
        )


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

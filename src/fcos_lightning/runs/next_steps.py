"""Commands that a run prints for what comes next, fit to be pasted into a shell."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fcos_lightning.data.stores.addresses import is_address
from fcos_lightning.errors import UserError
from fcos_lightning.printing import printable
from fcos_lightning.runs.comparing.finished import check_finished
from fcos_lightning.runs.config.composed import given_words
from fcos_lightning.runs.config.stored import outside, read_plain_yaml
from fcos_lightning.runs.config.words import quoted, valued
from fcos_lightning.runs.objects.instantiate import trusted_packages
from fcos_lightning.storage.run_folder import RunFolder

#: Of the runs beside one, the latest so many are looked at.
_LOOKED_AT = 20


def next_commands(config: DictConfig, run: RunFolder, images: Path | None) -> list[str]:
    """Return the commands that look at a finished run.

    Args:
        config: of the run.
        run: its folder.
        images: a folder of images to predict on; None: they are packed.
    """
    checkpoint = f"ckpt={_near(run.path)}/checkpoints/{RunFolder.BEST}"
    model, data = _own(config, ("model", "method")), _own(config, ("data",))
    root = str(config.data.get("root"))
    if is_address(root):  # which is not asked because a checkpoint says so
        data = [*data, f"data.root={root}"]
    own = tuple(dict.fromkeys((*model, *data)))
    look = (*(_conf_dir() if own else ()), checkpoint)  # at the images that were measured
    predict = ("fcos-predict", *(_conf_dir() if model else ()), checkpoint, *model)
    source = "IMAGES" if images is None else _near(images)
    before = _run_before(config, run)
    return [
        _pasted("fcos-test", *look, *own),
        _pasted(*predict, f"source={source}", f"out={_free('predictions')}"),
        _pasted("fcos-explain", *look, *own),
        *([_pasted("fcos-compare", _near(before), _near(run.path))] if before else []),
    ]


def _run_before(config: DictConfig, run: RunFolder) -> Path | None:
    """Return the latest finished run beside this one that was measured on the same data."""
    own: Any = OmegaConf.to_container(config.data, resolve=True)
    try:
        folders = [one for one in run.path.parent.iterdir() if one != run.path and one.is_dir()]
    except OSError:
        return None
    finished = {one: _finished_at(RunFolder(one)) for one in folders}
    latest = sorted((at, one) for one, at in finished.items() if at is not None)[-_LOOKED_AT:]
    for _, folder in reversed(latest):
        # What cannot be read, or compared, is not proposed.
        with suppress(UserError):
            check_finished([folder, run.path])
            if read_plain_yaml(RunFolder(folder).config).get("data") == own:
                return folder
    return None


def _finished_at(run: RunFolder) -> float | None:
    """Return when a run's figures were written; None: they were not."""
    try:
        return run.metrics.stat().st_mtime
    except OSError:
        return None


def resume_command(config: DictConfig, folder: Path) -> str:
    """Return the command that goes on with a run."""
    tree: Any = OmegaConf.to_container(config, resolve=True)
    elsewhere = [f"++{quoted(key, value)}" for key, value in outside(tree, folder)]
    return _pasted("fcos-train", f"resume={_near(folder)}", *_trusted(), *elsewhere)


def _own(config: DictConfig, groups: tuple[str, ...]) -> list[str]:
    """Return the words that choose parts of the user's own, which no checkpoint carries."""
    node = config.get(groups[0])
    if not _names_own(node):
        return []
    hydra = HydraConfig.get()
    if "resume" in given_words():  # what the command line chose is not what the run is made of
        return [*_trusted(), *_spelt_out(groups[0], node)]
    chosen = [f"{group}={hydra.runtime.choices[group]}" for group in groups]
    parts = [f"{groups[0]}.{key}" for key in node if _names_own(node[key])] or [groups[0]]
    words: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    more = [f"++{word.lstrip('+')}" for word in words if _is_below(word, parts)]
    return [*_trusted(), *chosen, *more]


def _spelt_out(group: str, node: DictConfig) -> list[str]:
    """Return words that give parts of the user's own as the run's own configuration has them."""
    tree: Any = OmegaConf.to_container(node, resolve=True)
    if _is_own(tree):
        return (
            [f"~{group}", f"++{valued(group, tree)}"]
            if group == "data"
            else [f"++{valued(group, tree)}"]
        )
    own = {f"{group}.{name}": part for name, part in tree.items() if _names_own(part)}
    # Hydra would merge a part into the command's default.
    return [
        word for key, part in own.items() for word in (f"++{key}=null", f"++{valued(key, part)}")
    ]


def _is_below(word: str, parts: list[str]) -> bool:
    """Tell whether a word sets an option of one of these parts."""
    key = word.lstrip("+").partition("=")[0]
    return any(key.startswith(f"{part}.") for part in parts)


def _names_own(node: object) -> bool:
    tree: Any = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if isinstance(tree, list):
        return any(map(_names_own, tree))
    if not isinstance(tree, dict):
        return False
    return _is_own(tree) or any(map(_names_own, tree.values()))


def _is_own(tree: Mapping[str, Any]) -> bool:
    return str(tree.get("_target_", "")).split(".")[0] in trusted_packages()


def _trusted() -> list[str]:
    named = trusted_packages()
    return [f"trusted_packages=[{','.join(named)}]"] if named else []


def _conf_dir() -> Iterator[str]:
    """Return the option that names the user's own YAML files, if the command line did."""
    for source in HydraConfig.get().runtime.config_sources:
        if source.provider.endswith("command-line"):  # also as the jobs of a sweep are told
            yield from ("--config-dir", _near(Path(source.path)))


def _pasted(*words: str) -> str:
    path = os.environ.get("PYTHONPATH")
    own = [f"PYTHONPATH={shlex.quote(path)}"] if path and trusted_packages() else []
    return " ".join([*own, *(_quoted(word) for word in (as_started(words[0]), *words[1:]))])


def as_started(name: str) -> str:
    """Return how one of our commands is called: by its path where the shell would not find it.

    Args:
        name: as ``fcos-train``; it lies beside the command that this process was started by.
    """
    began = Path(sys.argv[0])
    beside = began.with_name(name) if began.name.startswith("fcos-") else began
    if os.sep not in sys.argv[0] or beside.name != name or not beside.is_file():
        return name
    found = shutil.which(name)
    return name if found and os.path.samefile(found, beside) else str(beside)


def _quoted(word: str) -> str:
    if printable(word, len(word)) == word:
        return shlex.quote(word)
    # A name with a line break or an escape sequence can be pasted only as bash spells it.
    spelt = "".join(f"\\{one}" if one in "\\'" else printable(one) for one in word)
    return f"$'{spelt}'"


def _near(path: Path) -> str:
    """Write a path relative to the current folder where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _free(name: str) -> str:
    """Return a folder that is not there yet: nothing is written over."""
    names = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(one for one in names if not os.path.lexists(one))

"""Settings that do not exist: refused, with the nearest one that does.

Hydra refuses a key that no file has, but takes ``+lr=0.5`` for a new setting, which nobody reads.
So what a configuration holds beyond the command's own file is looked at again. What is handed to a
class or function is judged where that is called.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf

from fcos_lightning.errors import UserError
from fcos_lightning.printing import printable
from fcos_lightning.runs.options.names import SETTINGS, choice_names
from fcos_lightning.runs.options.trainer import OURS, TRAINER

_TRAINER = ("lightning.Trainer", "lightning.pytorch.Trainer")


def check_keys(config: DictConfig, conf: Path, command: str) -> None:
    """Refuse settings that nobody reads.

    A key of the user's own is left alone where another value refers to it.

    Args:
        config: as composed, nothing in it resolved.
        conf: the folder of the project's own files.
        command: the command's file in it.

    Raises:
        UserError: naming the first, and the nearest that exists.
    """
    own = _own_keys(conf, command)
    for key in map(str, config):
        if key not in own and not _referred_to(config, key):
            raise unknown(key, conf, command)
        for name in _inner(config, key) if own.get(key) else ():
            if name not in own[key]:
                raise unknown(f"{key}.{name}", conf, command)
    trainer = config.get("trainer")
    if isinstance(trainer, DictConfig) and trainer.get("_target_") in _TRAINER:
        for option in map(str, trainer):
            if option not in {*TRAINER, *OURS} and not option.startswith("_"):
                raise unknown(f"trainer.{option}", conf, command)


def unknown(key: str, conf: Path, command: str) -> UserError:
    """Return the error that names the setting nearest to one that does not exist."""
    groups = _groups(OmegaConf.load(conf / f"{command}.yaml"), conf)
    if key in groups and (package := _package(conf / key)):
        return UserError(
            f"{printable(key)}: is a choice and no setting; a YAML file of yours in {key}/ needs "
            f"`# @package {package}` as its first line, above any other comment"
        )
    known = {*_known(conf, command), *groups} - {key}
    guess = nearest(key, known)
    if guess is not None:
        return UserError(f"{printable(key)}: there is no such setting; is {guess} meant?")
    top = sorted({one.split(".")[0] for one in known})
    inside = key.rpartition(".")[0]
    of_choices = {*known, *_choices_of(conf, command)}
    there = sorted(one for one in of_choices if inside and one.rpartition(".")[0] == inside)
    return UserError(f"{printable(key)}: there is no such setting; there are", choices=there or top)


def explained(
    error: HydraException, conf: Path, command: str, words: Sequence[str] = ()
) -> UserError:
    """Return why Hydra cannot compose a configuration, and what to say instead, as an error."""
    said = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        name = name.removesuffix(".yaml")
        guess = nearest_choice(name, error.options)
        hint = f"is {group}={guess} meant? " if guess else ""
        return UserError(
            f"{group}={name}: there is no such choice; {hint}there are", choices=error.options
        )
    if several := re.search(r"Ambiguous value for argument '(.+?)' 1\. To use it as a list", said):
        return _of_several(several[1], conf, command)
    found = re.search(r"Could not (?:override|delete from config\.) '?([\w./@-]+)'?", said)
    if found is None or "Multiple values" in said:
        return UserError(said)
    key = found[1]
    known = _known(conf, command)
    word = next((w for w in words if w.lstrip("~").startswith(f"{key}=")), f"{key}=VALUE")
    word = word.lstrip("~")
    if choices := () if key in known else _choices_of(conf, command).get(key, ()):
        return UserError(
            f"{key}: what is chosen has no such setting; leave it out, or choose",
            choices=choices,
        )
    if _may_be_added(key, known):
        return UserError(f"{key}: is in no file of the configuration; add it by +{word}")
    if key in known and "To append to your config" in said:
        return UserError(
            f"{key}: no chosen file says it; if the part itself takes it, add it by +{word}"
        )
    if key in known:  # there, but not so: a value for a group, or a word with a wrong sign
        return UserError(said)
    return unknown(key, conf, command)


def _of_several(word: str, conf: Path, command: str) -> UserError:
    """Return the error of a word with a comma, which Hydra takes for several runs."""
    key, _, value = word.partition("=")
    if key in _groups(OmegaConf.load(conf / f"{command}.yaml"), conf):
        hint = "choose one"
    elif re.fullmatch(r"-?\d+,\d+", value):
        hint = f"say {key}={value.replace(',', '.')}, or for a list {key}=[{value}]"
    else:
        hint = f"for a list say {key}=[{value}]"
    each = "; to run each of them add -m" if command == "train" else ""
    return UserError(f"{printable(f'{word}: {hint}')}{each}")


def nearest(key: str, known: Iterable[str], certain: bool = False) -> str | None:
    """Return the setting that is most likely meant.

    Args:
        key: that does not exist.
        known: settings that do.
        certain: only where hardly anything else can be meant.
    """
    known = sorted(one for one in set(known) if not key.startswith(f"{one}."))
    parent, _, last = key.rpartition(".")
    for named in (key, last):
        for meant in SETTINGS.get(named.lower(), ()):
            if meant in known:
                return meant
    same = [one for one in known if one.rpartition(".")[2] == last]
    if len(same) == 1:
        return same[0]
    siblings = [one.rpartition(".")[2] for one in known if one.rpartition(".")[0] == parent]
    if close := get_close_matches(last, siblings, 1, 0.75):
        return f"{parent}.{close[0]}" if parent else close[0]
    if certain:
        return None
    if close := get_close_matches(key, known, 1, 0.75):
        return close[0]
    lasts = {one.rpartition(".")[2]: one for one in reversed(known)}
    close = get_close_matches(last, lasts, 1, 0.8)
    return lasts[close[0]] if close else None


def nearest_choice(name: str, options: Iterable[str]) -> str | None:
    """Return the file of a group that is most likely meant."""
    options = sorted(options)
    for one in choice_names(name):
        if one in options:
            return one
    close = get_close_matches(name.lower(), options, 1, 0.6)
    return close[0] if close else None


def _own_keys(conf: Path, command: str) -> dict[str, set[str]]:
    """Return the settings of a command, and what stands in those that are no group."""
    file = OmegaConf.load(conf / f"{command}.yaml")
    own: dict[str, set[str]] = {}
    for key, value in file.items():
        if key == "defaults":
            groups = _groups(file, conf)
            own |= {group: set() for group in groups if _has_a_place(conf / group)}
        elif key != "hydra":
            own[str(key)] = set(map(str, value)) if isinstance(value, DictConfig) else set()
    return own


def settings_of(conf: Path, command: str) -> set[str]:
    """Return the settings of a command, and ``data.root`` where it has data."""
    own = set(_own_keys(conf, command))
    return own | {"data.root"} if "data" in own else own


def _groups(file: Any, conf: Path) -> list[str]:  # noqa: ANN401  # a DictConfig, as the file is
    """Return the groups of a command, which its file names, from which a user chooses."""
    entries = [entry for entry in file["defaults"] if isinstance(entry, Mapping)]
    named = [str(name) for entry in entries for name in entry]
    return [name for name in named if (conf / name).is_dir()]


def _has_a_place(group: Path) -> bool:
    """Tell groups that become a setting from those whose files say where they belong."""
    # A choice may say more than its own part, as model=as_init does of the method.
    return any(_said_package(file) is None for file in group.glob("*.yaml"))


def _package(group: Path) -> str | None:
    """Return where the files of a group say they belong; None: it becomes a setting."""
    said = [_said_package(file) for file in sorted(group.rglob("*.yaml"))]
    return next(iter(said), None) if None not in said else None


def _said_package(file: Path) -> str | None:
    found = re.match(r"# @package (\S+)", file.read_text(encoding="utf-8"))
    return found[1] if found else None


def _inner(config: DictConfig, key: str) -> list[str]:
    value = OmegaConf.select(config, key, throw_on_resolution_failure=False)
    return [str(name) for name in value] if isinstance(value, DictConfig) else []


def _referred_to(config: DictConfig, key: str) -> bool:
    others: Any = OmegaConf.to_container(config, resolve=False)
    others.pop(key)
    wanted = re.compile(rf"\$\{{{re.escape(key)}[.\[}}]")
    return any(wanted.search(text) for text in _texts(others))


def _texts(tree: object) -> Iterator[str]:
    if isinstance(tree, dict):
        for value in tree.values():
            yield from _texts(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _texts(value)
    elif isinstance(tree, str):
        yield tree


def _may_be_added(key: str, known: Iterable[str]) -> bool:
    """Tell whether a key could be an argument of something, or a part of a group of parts."""
    parent, _, last = key.rpartition(".")
    if parent == "trainer":
        return last in TRAINER
    group = parent.split(".")[0]
    possible = f"{parent}._target_" in known or group in ("callbacks", "logger")
    return possible and nearest(key, known, certain=True) is None


@cache
def _known(conf: Path, command: str) -> frozenset[str]:
    """Return every setting of the command's default configuration, and Lightning's."""
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(conf), version_base="1.3"):
            config = hydra.compose(command)
            tree = OmegaConf.to_container(config, resolve=False)
    finally:
        GlobalHydra.instance().hydra = before
    keys = set(_paths(tree, ""))
    if "trainer" in keys:
        keys |= {f"trainer.{name}" for name in TRAINER}
    return frozenset(keys)


@cache
def _choices_of(conf: Path, command: str) -> dict[str, list[str]]:
    """Return for each setting that a file of a group has which files these are, as ``group=name``.

    What files take over from others counts as those others'.
    """
    found: dict[str, list[str]] = {}
    for group in _groups(OmegaConf.load(conf / f"{command}.yaml"), conf):
        for file in sorted((conf / group).glob("*.yaml")):
            package = _said_package(file) or group
            if package == "_global_":
                continue
            tree = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
            for path in _paths(tree, f"{package}."):
                found.setdefault(path, []).append(f"{group}={file.stem}")
    return found


def _paths(tree: object, before: str) -> Iterator[str]:
    for key, value in tree.items() if isinstance(tree, dict) else ():
        yield f"{before}{key}"
        yield from _paths(value, f"{before}{key}.")

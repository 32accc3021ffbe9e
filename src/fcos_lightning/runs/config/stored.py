"""``config.yaml`` of a run folder, read as what it is: values that somebody wrote down.

A run folder may come from a stranger. Its configuration is resolved already, so every string in it
is text; a tag, an alias or a size that no configuration has is refused before anything is made of
it; and what it would write outside of its own folder it writes only if the command line says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from fcos_lightning.data.stores.addresses import is_address
from fcos_lightning.errors import UserError
from fcos_lightning.printing import printable
from fcos_lightning.runs.config.opaque import opaque
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.storage.small_files import read_small

#: Of a run folder.
CONFIG = "config.yaml"
#: A configuration with ten thousand class names is a quarter of this.
_MOST_BYTES = 1 << 20
_DEEPEST = 40

#: Parts of a run that write files, by the options of their own.
_WRITERS = ("trainer", "callbacks", "logger")
#: Options that name a folder; also a relative path in them leads somewhere.
_FOLDERS = {
    "artifact_location", "default_root_dir", "dir", "dirpath", "folder", "log_dir", "root_dir",
    "save_dir", "tracking_uri",
}  # fmt: skip

_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _PlainLoader(_BaseLoader):  # type: ignore[misc]  # one of two classes
    """Numbers as OmegaConf writes and reads them, no dates, no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is a list or a mapping", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} stands there twice", key.start_mark
                )
            seen.add(key.value)
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


# ``1e-4`` is text to YAML 1.1 and a number to everybody else.
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if not tag.endswith((":timestamp", ":float"))]
    for first, rules in _BaseLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?$|[-+]?\d[\d_]*[eE][-+]?\d+$"
        r"|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$",
        re.ASCII,
    ),
    list("-+.0123456789"),
)


class _PlainDumper(yaml.SafeDumper):  # type: ignore[misc]  # untyped
    """Writes what ``_PlainLoader`` reads back: the same values, of the same kinds."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _dumped_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # YAML folds its own ends of lines, U+0085 among them, unless they are escaped.
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_PlainDumper.yaml_implicit_resolvers = _PlainLoader.yaml_implicit_resolvers
_PlainDumper.add_representer(str, _dumped_text)


def plain_yaml(tree: Mapping[str, Any]) -> str:
    """Return plain values as YAML, every text as it is."""
    text: str = yaml.dump(
        tree, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=1 << 20
    )
    return text


def load_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of a run: plain values, the paths below its folder where it is now.

    Raises:
        UserError: if the folder is not a run folder that can go on.
    """
    run = RunFolder(folder)
    file = run.config
    if not folder.is_dir():
        raise UserError(f"resume={folder}: {RunFolder.lacking(folder)}")
    if not file.is_file():
        raise UserError(f"resume={folder}: holds no {file.name}, so it is not a run folder")
    if not run.last.is_file():
        raise UserError(
            f"resume={folder}: holds no checkpoints/last.ckpt: it stopped before its first "
            "checkpoint; start it anew"
        )
    tree = read_plain_yaml(file)
    # What may be called is said on the command line, by whoever goes on with the run.
    tree.pop("trusted_packages", None)
    for place in _earlier_places(tree):
        for part in set(_WRITERS) & set(tree):
            tree[part] = _moved(tree[part], place, str(folder))
    tree["run_dir"] = str(folder)
    return tree


def _earlier_places(tree: Mapping[str, Any]) -> list[str]:
    """Return where the run folder was: as it says, and as its callbacks and its Trainer agree.

    They may differ where somebody has edited one of them, as in the copy of a run.
    """
    said = tree.get("run_dir")
    trainer = tree.get("trainer")
    root = trainer.get("default_root_dir") if isinstance(trainer, dict) else None
    places = [said] if isinstance(said, str) and said else []
    if isinstance(root, str) and root.startswith("/") and root.rstrip("/") and root != said:
        checkpoints = f"{root}/{RunFolder(Path(root)).checkpoints.name}"
        if any(text == checkpoints for _, _, text in _texts(tree.get("callbacks"), "", "")):
            places.append(root)
    return places


def as_config(tree: dict[str, Any]) -> DictConfig:
    """Return plain values as a configuration in which nothing is looked up."""
    config = OmegaConf.create(opaque(tree))
    assert isinstance(config, DictConfig)
    return config


def read_plain_yaml(file: Path) -> dict[str, Any]:
    """Read a mapping of plain values.

    Raises:
        UserError: if the file is anything else; the line says where.
    """
    content = read_small(
        file,
        _MOST_BYTES,
        too_large=f"{file}: has more than {_MOST_BYTES} bytes, so it is no configuration",
    )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{file}: is not UTF-8 text, so it is no configuration") from None
    try:
        _check_events(text, file)
        tree = yaml.load(text, Loader=_PlainLoader)
    except UserError:
        raise
    except yaml.YAMLError as error:
        raise UserError(f"{file}: {_said(error)}") from error
    except ValueError as error:  # a number of more digits than Python reads
        raise UserError(f"{file}: {error}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{file}: holds no settings; it has to be a mapping, as a run writes it")
    _check_keys(tree, file, "")
    return tree


def outside(tree: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, str]]:
    """Find what a run would write, or send, outside of its folder.

    Args:
        tree: its configuration.
        folder: of the run.

    Yields:
        Keys with their values, which are paths outside or addresses.
    """
    for part in _WRITERS:
        for key, option, value in _texts(tree.get(part), part, ""):
            if option != "_target_" and _leads_outside(option, value, folder):
                yield key, value
    data = tree.get("data")
    if isinstance(data, dict) and is_address(str(data.get("root"))):
        yield "data.root", str(data["root"])
    elif isinstance(data, dict) and str(data.get("_target_")).endswith("ShapesDataModule"):
        root = data.get("root")
        # It draws its images where there are none.
        if isinstance(root, str) and root and not _is_file(f"{root}/shapes.json"):
            yield "data.root", root


def _leads_outside(option: str, value: str, folder: Path) -> bool:
    path = value.removeprefix("file://").removeprefix("file:")
    if "://" in path or path.startswith("~"):
        return True
    if not value or not (option in _FOLDERS or path.startswith("/") or ".." in Path(path).parts):
        return False
    try:
        # Where it really leads: a folder of the run may be a link.
        return not Path(path).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # too long, with a null character, links in a ring
        return True


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def _texts(tree: object, key: str, option: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _texts(value, f"{key}.{name}", name)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _texts(value, f"{key}.{index}", option)
    elif isinstance(tree, str):
        yield key, option, tree


def _moved(tree: Any, before: str, now: str) -> Any:  # noqa: ANN401
    """Replace the place where a run folder was by the one where it is."""
    if isinstance(tree, dict):
        return {key: _moved(value, before, now) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_moved(value, before, now) for value in tree]
    if isinstance(tree, str):
        scheme = "file:" if tree.startswith("file:/") else ""
        rest = tree.removeprefix(scheme)
        if rest == before or rest.startswith(f"{before}/"):
            return f"{scheme}{now}{rest[len(before) :]}"
    return tree


def _check_events(text: str, file: Path) -> None:
    """Refuse what no configuration of ours has, before any of it is put together.

    Raises:
        UserError: with the line.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_BaseLoader):
        wrong = None
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            wrong = "is nested too deeply"
        elif getattr(event, "anchor", None) is not None:
            wrong = f"has an anchor or alias, {event.anchor}"
        elif getattr(event, "tag", None) is not None:
            wrong = f"has the tag {event.tag}"
        if wrong is not None:
            line = event.start_mark.line + 1
            raise UserError(
                f"{file}, line {line}: {printable(wrong)}; a stored configuration holds plain "
                "values only, and none of it was run"
            )


def _check_keys(tree: object, file: Path, place: str) -> None:
    """Refuse keys that are no text.

    Raises:
        UserError: naming the place.
    """
    if isinstance(tree, dict):
        for key, value in tree.items():
            if not isinstance(key, str):
                where = f"{file}, in {place}" if place else str(file)
                raise UserError(f"{where}: the key {key!r} is no text")
            _check_keys(value, file, f"{place}.{key}" if place else key)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            _check_keys(value, file, f"{place}[{index}]")


def _said(error: yaml.YAMLError) -> str:
    """Return what is wrong and in which line."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return (
        f"{f'line {mark.line + 1}: ' if mark else ''}{printable(problem)}; no YAML that can be read"
    )

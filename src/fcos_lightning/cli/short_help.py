"""``--help``: a command's usual words on one screen, with their defaults; read from ``conf/``.

All words, of every choice, are Hydra's own help, behind ``--help-all``. Nothing is composed here,
so that the answer comes at once.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

#: Words that few need.
RARE = {
    *("trusted_packages", "recipe", "moving_normaliser", "activation_checkpointing"),
    *("channels_last", "hydra", "defaults"),
}
#: Of a command's groups, what is set most often; the defaults are those of its choices.
_ROOT = ("data", "root", "the folder of images and annotations, of any layout in docs/data.md")
_OF_GROUPS = {
    "doctor": (_ROOT,),
    "explain": (_ROOT, ("data", "shorter_side", "of images after resizing, in pixels")),
    "pack": (_ROOT,),
    "train": (
        ("data", "root", "the folder of the data"),
        ("data", "batch_size", "images, over all devices"),
        ("data", "shorter_side", "of images after resizing, in pixels"),
        ("schedule", "max_epochs", "how long; or max_steps"),
        ("schedule", "lr", "learning rate, of a batch of schedule.reference_batch"),
        ("trainer", "accelerator", "or cpu, gpu"),
        ("trainer", "devices", "how many GPUs"),
    ),
}
_LINE = re.compile(r"(\w+):\s*([^#]*?)\s*(?:#\s*(.*))?$")


def short_help(conf: Path, name: str) -> str:
    """Return the help of a command.

    Args:
        conf: the folder of the configuration.
        name: of the command's file there.
    """
    text = (conf / f"{name}.yaml").read_text(encoding="utf-8")
    content: Any = yaml.safe_load(text)
    help_of = content["hydra"]["help"]
    # A screen narrower than this would break every line.
    width = max(min(shutil.get_terminal_size((100, 24)).columns, 110), 72)
    about = text.splitlines()[0].lstrip("# ")
    rows = [*_own(text), *_of_groups(conf, name, content)]
    words = [key if value is None else f"{key}={value}" for key, value, _ in rows]
    key_width = max(map(len, words)) + 2
    lines = [about, ""]
    for word, (_, _, said) in zip(words, rows, strict=True):
        indent = " " * (2 + key_width)
        lines += textwrap.wrap(
            f"  {word:{key_width}}{said}", width, subsequent_indent=indent, break_on_hyphens=False
        )
    choices = list(_choices(conf, content, width))
    if choices:
        lines += ["", "Choices, each a file in conf/; the first is the default:", *choices]
    lines += ["", *help_of["footer"].rstrip().splitlines()]
    lines += ["", f"{help_of['app_name']} --help-all has all words, --version the version."]
    return "\n".join(lines)


def _own(text: str) -> Iterator[tuple[str, str | None, str]]:
    """Words of the file itself, with default and remark; of a mapping its name alone."""
    for line in text.splitlines():
        found = _LINE.match(line)
        if found and found[1] not in RARE:
            key = found[1] if found[2] else f"{found[1]}.*"
            yield key, found[2] or None, found[3] or ""


def _of_groups(conf: Path, name: str, content: Any) -> Iterator[tuple[str, str, str]]:  # noqa: ANN401
    chosen = _chosen(content)
    for group, key, said in _OF_GROUPS.get(name, ()):
        settings: Any = yaml.safe_load((conf / group / f"{chosen[group]}.yaml").read_text("utf-8"))
        value = settings[key]
        yield f"{group}.{key}", "null" if value is None else str(value), said


def _chosen(content: Any) -> dict[str, str | None]:  # noqa: ANN401  # plain values
    return {
        group: choice
        for one in content["defaults"]
        if isinstance(one, dict)
        for group, choice in one.items()
        if not group.startswith(("override ", "optional "))
    }


def _choices(conf: Path, content: Any, width: int) -> Iterator[str]:  # noqa: ANN401
    for group, default in _chosen(content).items():
        names = sorted(
            file.relative_to(conf / group).with_suffix("").as_posix()
            for file in (conf / group).rglob("*.yaml")
        )
        if group == "experiment":
            names = [one for one in names if "/" not in one] + ["adelaidet/...", "official/..."]
        first = "null" if default is None else default
        others = [one for one in names if one != first]
        text = f"{group}={first}  or {', '.join(others)}"
        yield from textwrap.wrap(
            text, width, initial_indent="  ", subsequent_indent=" " * 6, break_on_hyphens=False
        )

"""``--help``: a command's usual words on one screen, with their defaults; read from ``conf/``.

All words, of every choice, are Hydra's own help, behind ``--help-all``. Nothing is composed here,
so that the answer comes at once. A screen is what a terminal opens with, 24 lines of 80 letters,
whose last line is the shell's again.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

#: What a screen holds beside the line that the shell asks on.
ROWS = 23
#: Of each command, the words that most people need, as they are told apart by what they are for.
USUAL = {
    "compare": ("runs", "run_dir", "seed", "resamples", "trusted_packages"),
    "convert": ("ckpt", "average", "out", "layout", "nms", "size", "precision", "limit", "license"),
    "doctor": ("data.root", "ckpt", "strict", "page", "run_dir", "device", "data.shorter_side"),
    "explain": (
        *("data.root", "data.shorter_side", "ckpt", "split", "images", "files", "limit"),
        *("score_threshold", "run_dir", "device"),
    ),
    "pack": ("data.root", "out", "shard_mb", "trusted_packages"),
    "predict": (
        *("ckpt", "source", "out", "score_threshold", "thresholds", "save", "device", "batch_size"),
        *("backend", "tiles", "tracker", "on_bad_image", "decoder"),
    ),
    "report": ("ckpt", "run_dir", "backend", "test.tta", "tiles", "decoder", "seed"),
    "serve": (
        *("ckpt", "host", "port", "token", "score_threshold", "backend", "device", "batch_size"),
        *("delay_ms", "queue", "max_bytes", "max_pixels", "urls"),
    ),
    "test": ("ckpt", "run_dir", "report", "backend", "test.tta", "tiles", "decoder", "seed"),
    "train": (
        *("data.root", "data.batch_size", "data.shorter_side", "schedule.max_epochs"),
        *("schedule.lr", "trainer.devices", "init_from", "resume", "run_dir"),
    ),
}
#: Of a command's groups, those that most people choose from.
_USUAL_GROUPS = {
    "compare": ("data",),
    "doctor": ("method", "model", "data"),
    "explain": ("method", "model", "data"),
    "pack": ("data",),
    "report": ("data",),
    "test": ("data",),
    "train": ("experiment", "method", "model", "data", "augment", "schedule", "logger"),
}
#: What words of groups are for; the defaults are those of a command's choices.
_OF_GROUPS = {
    "data.root": "the folder of images and annotations (docs/data.md)",
    "data.batch_size": "images, over all devices",
    "data.shorter_side": "of images after resizing, in pixels",
    "schedule.max_epochs": "how long; or max_steps",
    "schedule.lr": "learning rate, for schedule.reference_batch images",
    "trainer.devices": "how many GPUs",
}
_LINE = re.compile(r"( *)(\w+):\s*([^#]*?)\s*(?:#\s*(.*))?$")


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
    width = max(min(shutil.get_terminal_size((80, 24)).columns, 110), 72)
    lines = [*textwrap.wrap(text.splitlines()[0].lstrip("# "), width), ""]
    lines += _words(conf, name, text, width)
    choices = list(_choices(conf, name, content, width))
    if choices:
        lines += ["Choices, each a file in conf/; the first is the default:", *choices]
    last = f"{help_of['app_name']} --help-all has all words, --version the version."
    lines += _footer(help_of["footer"].rstrip().splitlines(), ROWS - len(lines) - 1)
    return "\n".join([*lines, last])


def _words(conf: Path, name: str, text: str, width: int) -> Iterator[str]:
    """The usual words, with default and remark; of a mapping its name alone."""
    own = {key: (value, said) for key, value, said in _own(text)}
    rows = []
    for key in USUAL[name]:
        value, said = own[key] if key in own else _of_group(conf, name, key)
        rows.append((f"{key}.*" if value is None else f"{key}={value}", said))
    key_width = max(len(word) for word, _ in rows) + 2
    indent = " " * (2 + key_width)
    for word, said in rows:
        line = f"  {word:{key_width}}{said}"
        yield from textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False)


def _own(text: str) -> Iterator[tuple[str, str | None, str]]:
    """Words of the file itself, and of its mappings, with default and remark."""
    within = ""
    for line in text.splitlines():
        found = _LINE.match(line)
        if found and not found[1]:
            within = found[2]
            yield within, found[3] or None, found[4] or ""
        elif found and len(found[1]) == 2:
            yield f"{within}.{found[2]}", found[3] or None, found[4] or ""


def _of_group(conf: Path, name: str, key: str) -> tuple[str, str]:
    """Default and remark of a word of a group."""
    group, word = key.split(".")
    content: Any = yaml.safe_load((conf / f"{name}.yaml").read_text("utf-8"))
    chosen: Any = yaml.safe_load(
        (conf / group / f"{_chosen(content)[group]}.yaml").read_text("utf-8")
    )
    value = chosen[word]
    return "null" if value is None else str(value), _OF_GROUPS[key]


def _chosen(content: Any) -> dict[str, str | None]:  # noqa: ANN401  # plain values
    return {
        group: choice
        for one in content["defaults"]
        if isinstance(one, dict)
        for group, choice in one.items()
        if not group.startswith(("override ", "optional "))
    }


def _choices(conf: Path, name: str, content: Any, width: int) -> Iterator[str]:  # noqa: ANN401
    """One line for each group: the default, then the others, as many as there is room for."""
    chosen = _chosen(content)
    for group in _USUAL_GROUPS.get(name, ()):
        names = sorted(file.stem for file in (conf / group).glob("*.yaml"))
        names += sorted(f"{one.name}/..." for one in (conf / group).iterdir() if one.is_dir())
        first = "null" if chosen[group] is None else chosen[group]
        others = [one for one in names if one != first]
        text = f"{group}={first}  or {', '.join(others)}"
        if len(text) > width - 2:
            text = text[: width - 2 - len("...")].rsplit(" ", 1)[0] + " ..."
        yield f"  {text}"


def _footer(lines: Sequence[str], room: int) -> list[str]:
    """Of what a command says in the end, as many examples as there is room for, then the rest."""
    examples = [line for line in lines if line.startswith(" ")]
    said = [line for line in lines if not line.startswith(" ")]
    kept = [said[0], *examples[: max(room - 1, 1)]]
    return kept + said[1:] if len(kept) + len(said) - 1 <= room else kept

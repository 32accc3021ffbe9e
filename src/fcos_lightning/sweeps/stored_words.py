"""Words of a command line that stand in a sweep's folder, which may be a stranger's.

They are run again by ``sweep.resume=FOLDER``, where nobody has typed them. So they may choose and
set what a run is made of, and nothing that reaches beyond it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, RangeSweep

from fcos_lightning.data.stores.addresses import is_address
from fcos_lightning.errors import UserError
from fcos_lightning.printing import printable
from fcos_lightning.runs.config.stored import load_config, outside
from fcos_lightning.sweeps.space import Space

#: Keys that lead elsewhere: the command's own, and what it trusts.
_REFUSED = ("hydra", "run_dir", "resume", "sweep", "trusted_packages")


def check_stored(space: Space, folder: Path) -> None:
    """Refuse a sweep of which a word reaches beyond its own runs.

    Args:
        space: of the words that its folder holds.
        folder: of the sweep.

    Raises:
        UserError: naming the word; the sweep goes on by the command that began it.
    """
    for word in _words(space):
        reason = _beyond(word, folder)
        if reason is not None:
            raise UserError(
                f"sweep.resume={folder}: its word {printable(word)} {reason}, which counts only "
                f"on a command line; give the command that began the sweep again, with "
                f"sweep.dir={folder}"
            )


def said_again(words: tuple[str, ...], run_folder: Path) -> list[str]:
    """Return those of a job's words that ``resume=`` has to be told again, as its user's.

    Args:
        words: of the job.
        run_folder: that is gone on with.
    """
    try:
        elsewhere = {key for key, _ in outside(load_config(run_folder), run_folder)}
    except UserError:  # which the job itself will report
        elsewhere = set()
    again = []
    for word in words:
        key, _, value = word.lstrip("+").partition("=")
        if key == "trusted_packages" or key in elsewhere:
            again.append(f"++{key}={value}")
    return again


def _words(space: Space) -> Iterator[str]:
    yield from space.fixed
    for case in space.cases:
        yield from case
    for key, override in space.swept.items():
        if not isinstance(override.value(), IntervalSweep | RangeSweep):
            yield from (f"{key}={value}" for value in space.choices(key))


def _beyond(word: str, folder: Path) -> str | None:
    """Say in which way a word reaches beyond a run; None if it does not."""
    key, _, text = word.lstrip("+~").partition("=")
    if key.split(".")[0].split("/")[0] in _REFUSED or word.startswith("-"):
        return "is not about a run"
    if "${" in word:
        return "looks something up"
    value: Any = OverridesParser.create().parse_override(word).value()
    if "." not in key and (".." in Path(text).parts or text.startswith(("/", "~"))):
        return "chooses a file elsewhere"
    tree: Any = value
    for part in reversed(key.split(".")):
        tree = {part: tree}
    if key == "data.root" and is_address(str(value)):
        return "names data to be fetched"
    if key == "data.root" and not _holds_something(str(value)):
        return "names a folder to be made"
    if any(True for _ in outside(tree, folder)):
        return "leads outside of the sweep's folder"
    return None


def _holds_something(path: str) -> bool:
    try:
        return Path(path).is_dir() and any(Path(path).iterdir())
    except (OSError, ValueError):
        return False

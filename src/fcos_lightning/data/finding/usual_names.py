"""Which sets of images a data set has, told by the names that people and tools give them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fcos_lightning.errors import UserError
from fcos_lightning.printing import some_of

Role = Literal["train", "val", "test"]

#: In place of a split's name: find it.
AUTO = "auto"

_WORDS: dict[str, Role] = {
    **dict.fromkeys(("train", "training", "trainset", "trainval", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "valset", "eval", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "testset", "tst"), "test"),
}
#: Made of two others: used where those are not there.
_BOTH = "trainval"
# Letters in a row; a capital behind a small letter begins a word too, as in trainImages.
_LETTERS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


@dataclass(frozen=True)
class Splits:
    """Names of the sets to learn from, to choose the best epoch by, and to report in the end.

    Attributes:
        train: name.
        val: name; None: a share of ``train`` is split off.
        test: name; None: nothing is measured in the end.
    """

    train: str
    val: str | None
    test: str | None


def role_of(name: str) -> Role | None:
    """Return what a name like ``instances_val2017``, ``Train`` or ``trainImages`` says."""
    found = {_WORDS[word] for word in _words(name) if word in _WORDS}
    return found.pop() if len(found) == 1 else None


def role_of_path(path: str) -> str | None:
    """Return the first folder of a path that has a role, as ``valid`` of ``data/valid/images``."""
    return next((part for part in path.split("/") if role_of(part)), None)


def find_splits(
    names: Sequence[str], where: str, train: str, val: str | None, test: str | None
) -> Splits:
    """Choose sets by their usual names where the user did not.

    Args:
        names: of all sets that there are.
        where: they were found, for messages.
        train: a name, or ``AUTO``.
        val: a name; ``AUTO``; None to split off a share of ``train``.
        test: a name; ``AUTO``; None to measure nothing in the end.

    Raises:
        UserError: if it cannot be told which is which.
    """
    taken = [one for one in (train, val, test) if one not in (None, AUTO)]
    free = [name for name in names if name not in taken]
    roles: dict[Role, list[str]] = {"train": [], "val": [], "test": []}
    for name in free:
        role = role_of(name)
        if role is not None:
            roles[role].append(name)
    apart = [name for name in roles["train"] if _BOTH not in _words(name)]
    # VOC lists train, val, and both of them together.
    if apart and (roles["val"] or val not in (None, AUTO)):
        roles["train"] = apart
    elif len(roles["train"]) > len(apart):
        roles["train"] = [name for name in roles["train"] if name not in apart]
    if train == AUTO and len(names) == 1 and free and role_of(free[0]) is None:
        # A name that is given and not there is for whoever reads it to refuse.
        return Splits(free[0], None if val == AUTO else val, None if test == AUTO else test)
    chosen_train = _only(roles["train"], "train", names, where) if train == AUTO else train
    if chosen_train is None:
        raise UserError(
            f"{where} has {'the sets' if len(names) > 1 else 'one set'} {some_of(names)}, and no "
            "name says what is to be learnt from: give data.train_split=NAME, and data.val_split="
            "NAME or null for a share of that"
        )
    return Splits(
        chosen_train,
        _only(roles["val"], "val", names, where) if val == AUTO else val,
        _only(roles["test"], "test", names, where) if test == AUTO else test,
    )


def find_measured(names: Sequence[str], where: str) -> str:
    """Choose the set to measure on: for validation, else for testing, else the only one.

    Args:
        names: of all sets that there are.
        where: they were found, for messages.

    Raises:
        UserError: if it cannot be told.
    """
    for role in ("val", "test"):
        alike = [name for name in names if role_of(name) == role]
        if alike:
            if len(alike) == 1:
                return alike[0]
            break
    else:
        if len(names) == 1:
            return names[0]
    raise UserError(
        f"{where} has the sets {some_of(names)}: say by data.val_split=NAME which is to be "
        "measured on"
    )


def _only(found: Sequence[str], role: Role, names: Sequence[str], where: str) -> str | None:
    if len(found) > 1:
        raise UserError(
            f"{where} has several sets that could be the one for {role}: {some_of(found)}; choose "
            f"by data.{role}_split=NAME"
            + (f", of {some_of(names)}" if len(names) > len(found) else "")
        )
    return found[0] if found else None


def _words(name: str) -> list[str]:
    return [word.lower() for word in _LETTERS.findall(name)]

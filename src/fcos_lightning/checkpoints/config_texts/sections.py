"""Options of one part in a configuration, each of the kind that it is asked for as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fcos_lightning.checkpoints.config_texts.python_text import ADVICE, Unread
from fcos_lightning.errors import UserError, shown


class Section:
    """The options of one part.

    Args:
        name: for messages.
        options: by name.
        complete: whether what is not among them has mmdetection's default.

    Raises:
        UserError: if an option is asked for that is no plain value, or of another kind.
    """

    def __init__(self, name: str, options: Mapping[str, Any], complete: bool) -> None:
        self.name, self.options, self.complete = name, options, complete

    def flag(self, option: str, usual: bool) -> bool:
        """Return True or False; where nothing is said, mmdetection's False, or what is usual."""
        value = self._plain(option, False if self.complete else usual)
        return bool(self._kind(option, value, (bool,), "True or False"))

    def number(self, option: str, usual: float) -> float:
        """Return a number."""
        return float(self._kind(option, self._plain(option, usual), (int, float), "a number"))

    def whole(self, option: str, usual: int) -> int:
        """Return a whole number."""
        return int(self._kind(option, self._plain(option, usual), (int,), "a whole number"))

    def word(self, option: str, default: str, usual: str) -> str:
        """Return a word; where nothing is said, mmdetection's default, or what is usual."""
        value = self._plain(option, default if self.complete else usual)
        return str(self._kind(option, value, (str,), "a word"))

    def values(self, option: str) -> list[Any] | None:
        """Return a list; None where nothing is said."""
        value = self._plain(option, None)
        return None if value is None else list(self._kind(option, value, (list,), "a list"))

    def part(self, option: str) -> Section:
        """Return the options of a part within this one."""
        value = self._plain(option, None)
        found = {} if value is None else self._kind(option, value, (dict,), "a dictionary")
        return Section(f"{self.name}.{option}", found, value is not None)

    def _plain(self, option: str, usual: object) -> Any:  # noqa: ANN401  # whatever the text says
        value = self.options.get(option, usual)
        if isinstance(value, Unread):
            raise UserError(
                f"{self.name}.{option} of its configuration, line {value.line}, is no plain value; "
                f"{ADVICE}"
            )
        return value

    def _kind(self, option: str, value: Any, kinds: tuple[type, ...], words: str) -> Any:  # noqa: ANN401  # likewise
        if type(value) not in kinds or value != value:
            raise UserError(
                f"{self.name}.{option} of its configuration is {shown(value)}, not {words}"
            )
        return value


def section(config: Mapping[str, Any], name: str) -> Section:
    """Return a part of the model; the text's own part of that name, where the model has none."""
    model = Section("model", config, False).part("model") if "model" in config else None
    for holder in (model.options if model else {}, config):
        found = holder.get(name)
        # Since 3 the text has a test_cfg of its own, which is a loop.
        if found is not None and not (isinstance(found, dict) and "Loop" in str(found.get("type"))):
            part = Section("model" if holder is not config else "text", holder, False).part(name)
            return Section(name, part.options, True)
    return Section(name, config, False)

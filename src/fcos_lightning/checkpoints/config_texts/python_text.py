"""The text of a configuration, as files of mmdetection carry it: what it assigns in the end.

Such a text is Python, read here as a tree of syntax and never run. It is one file, as newer
versions write it, or several: a file's bases first, then what overrides them, each under a line
with its path. As in mmcv, a dictionary that is assigned to a name which has one already is merged
into that one, unless it says ``_delete_=True``; of anything else the last assignment counts.
"""

from __future__ import annotations

import ast
import operator
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from fcos_lightning.errors import UserError, shown

#: What to do where a text says what cannot be used.
ADVICE = "give a recipe, which is taken in place of the text"

#: Published texts have some 10,000 characters.
_LONGEST_TEXT = 200_000
#: Of values in all: a text may name one value many times.
_MOST_VALUES = 200_000
_LARGEST_NUMBER = 2**63

#: Whether Python itself bounds how deep a tree of syntax may become; before 3.11 a deeper one than
#: the processor's stack ends the process. Each level takes one of these characters, of which
#: published texts have some hundreds.
_BOUNDED = sys.version_info >= (3, 11)
_LEVELS = re.compile(r"[-+*/%@&|^~.(\[{<>]")
_MOST_LEVELS = 5_000

#: A line that is the path of the file that follows.
_PATH = re.compile(r"(?m)^[^\s#'\"=(){}\[\],][^#'\"=(){}\[\],\n]*\.py[ \t]*$")

_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
#: Of a text that is JSON.
_WORDS = {"true": True, "false": False, "null": None}


class Unread:
    """Stands for what is no plain value: calls, loops, what is imported."""

    def __init__(self, line: int) -> None:
        self.line = line


def read_config(text: str) -> dict[str, Any]:
    """Return what a text assigns to each name: plain values, and ``Unread`` in place of others.

    Raises:
        UserError: if it is no Python, or larger than any configuration.
    """
    if len(text) > _LONGEST_TEXT:
        raise UserError(f"the text of its configuration has {len(text)} characters")
    if not _BOUNDED and len(_LEVELS.findall(text)) > _MOST_LEVELS:
        raise UserError(f"the text of its configuration may be nested too deeply; {ADVICE}")
    try:
        tree = ast.parse(_PATH.sub("_base_ = []", text))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(
            f"the text of its configuration cannot be read{line} ({shown(str(error), 100)[1:-1]}); "
            f"{ADVICE}"
        ) from None
    reader = _Reader()
    try:
        for statement in tree.body:
            reader.take(statement)
        reader.end_file()
    except RecursionError:
        raise UserError("the text of its configuration is nested too deeply") from None
    return reader.config


class _Reader:
    """Takes in one statement after the other.

    Attributes:
        config: what the files so far have assigned.
        names: what the present one has.
    """

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.names: dict[str, Any] = {}
        self.left = _MOST_VALUES

    def take(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Expr):
            self._expression(statement.value)
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                self._assign(target, self._value(statement.value))
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            self._assign(statement.target, self._value(statement.value))
        else:
            self._forget(statement)

    def end_file(self) -> None:
        """Merge what the present file has assigned into what those before it have."""
        self.config = self._merged(self.config, self.names)
        self.names = {}

    def _expression(self, value: ast.expr) -> None:
        if isinstance(value, ast.Dict):  # the whole of it as one dictionary
            found = self._value(value)
            if isinstance(found, dict):
                self.config = self._merged(self.config, found)
        elif not isinstance(value, ast.Constant):
            self._forget(value)  # a call may change what it is called on

    def _assign(self, target: ast.expr, value: object) -> None:
        if isinstance(target, ast.Name):
            # A file has a name once, so this is the next one's.
            again = isinstance(value, dict) and isinstance(self.names.get(target.id), dict)
            if again or target.id == "_base_":
                self.end_file()
            if target.id != "_base_":
                self.names[target.id] = value
            return
        if isinstance(target, ast.Subscript):
            held, key = self._value(target.value), self._value(target.slice)
            if isinstance(held, dict) and isinstance(key, str):
                held[key] = value
                return
        self._forget(target)

    def _forget(self, part: ast.AST) -> None:
        """Take every name that a part of the text touches for one that is not known."""
        for node in ast.walk(part):
            if isinstance(node, ast.Name):
                self.names[node.id] = Unread(node.lineno)

    def _value(self, node: ast.AST) -> Any:  # noqa: ANN401  # a plain value of any kind
        self._count()
        unread = Unread(getattr(node, "lineno", 0))
        if isinstance(node, ast.Constant):
            value = node.value
            return value if value is None or type(value) in (bool, int, float, str) else unread
        if isinstance(node, ast.Name):
            known = self.names if node.id in self.names else self.config
            return known.get(node.id, _WORDS.get(node.id, unread))
        if isinstance(node, ast.List | ast.Tuple):
            return [self._value(item) for item in node.elts]
        if isinstance(node, ast.Dict):
            return self._dictionary(node.keys, node.values, unread)
        if isinstance(node, ast.Call):
            return self._called(node, unread)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self._value(node.operand)
            return -value if type(value) in (int, float) else unread
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return self._computed(node, unread)
        if isinstance(node, ast.Subscript):
            return self._item(self._value(node.value), self._value(node.slice), unread)
        if isinstance(node, ast.Attribute):  # _base_.name
            of_base = isinstance(node.value, ast.Name) and node.value.id == "_base_"
            held = {**self.config, **self.names} if of_base else self._value(node.value)
            return self._item(held, node.attr, unread)
        if isinstance(node, ast.Set) and len(node.elts) == 1:  # {{_base_.name}}
            return self._value(node.elts[0])
        return unread

    def _called(self, node: ast.Call, unread: Unread) -> Any:  # noqa: ANN401
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "dict" and not node.args:
            keys = [None if one.arg is None else ast.Constant(one.arg) for one in node.keywords]
            return self._dictionary(keys, [one.value for one in node.keywords], unread)
        if name in ("float", "tuple", "list") and len(node.args) == 1 and not node.keywords:
            value = self._value(node.args[0])
            if name != "float":
                return value if isinstance(value, list) else unread
            if _is_number(value) or str(value).strip("+-").lower() in ("inf", "infinity"):
                return float(value)
        return unread

    def _dictionary(
        self, keys: list[Any], values: list[ast.expr], unread: Unread
    ) -> dict[str, Any] | Unread:
        found: dict[str, Any] = {}
        for key, value in zip(keys, values, strict=True):
            item = self._value(value)
            if key is None:  # **item
                if not isinstance(item, dict):
                    return unread
                self._count(len(item))
                found.update(item)
                continue
            name = self._value(key)
            if not isinstance(name, str):
                return unread
            found[name] = item
        return found

    def _computed(self, node: ast.BinOp, unread: Unread) -> Any:  # noqa: ANN401
        left, right = self._value(node.left), self._value(node.right)
        if isinstance(left, list) and isinstance(right, list) and isinstance(node.op, ast.Add):
            self._count(len(left) + len(right))
            return left + right
        if not _is_number(left) or not _is_number(right):
            return unread
        try:
            return _OPERATORS[type(node.op)](left, right)
        except ZeroDivisionError:
            return unread

    def _item(self, held: object, key: object, unread: Unread) -> Any:  # noqa: ANN401
        if isinstance(held, dict) and isinstance(key, str):
            return held.get(key, unread)
        if isinstance(held, list) and type(key) is int and -len(held) <= key < len(held):
            return held[key]
        return unread

    def _merged(self, base: object, over: dict[str, Any]) -> dict[str, Any]:
        """Return a dictionary with another merged into it; both stay as they are."""
        replaces = over.get("_delete_") is True or not isinstance(base, dict)
        result: dict[str, Any] = {} if replaces else dict(base)  # type: ignore[call-overload]
        self._count(len(result) + len(over))
        for key, value in over.items():
            if key != "_delete_":
                before = result.get(key)
                result[key] = self._merged(before, value) if isinstance(value, dict) else value
        return result

    def _count(self, more: int = 1) -> None:
        self.left -= more
        if self.left < 0:
            raise UserError("the text of its configuration holds more than any configuration does")


def _is_number(value: object) -> bool:
    """Whether it is a number that is safe to calculate with."""
    return type(value) in (int, float) and abs(value) < _LARGEST_NUMBER  # type: ignore[arg-type]

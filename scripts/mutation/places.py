"""Places in a source file where one small thing can be made wrong."""

from __future__ import annotations

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_OPERATORS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
}
_NAMES = {
    "min": "max",
    "amin": "amax",
    "minimum": "maximum",
    "argmin": "argmax",
    "any": "all",
    "floor": "ceil",
    "zeros": "ones",
    "cumsum": "cumprod",
}
#: What a name of a type is made of.
_TYPES = ("Literal", "Callable", "dict", "list", "tuple", "type", "Union", "Mapping", "Sequence")
_NAMES |= {other: name for name, other in _NAMES.items()}


@dataclass(frozen=True)
class Place:
    """One mutation of one file.

    Attributes:
        file: below the top of the repository, with slashes.
        line: counted from 1.
        before: the statement's line as it stands.
        start: where the replaced text begins, in bytes of the file.
        end: where it ends.
        text: what takes its place.
        rank: of all places those of the lowest are chosen. It depends on the seed and the code
            around the place, not on its line, so that code elsewhere may change.
    """

    file: str
    line: int
    before: str
    start: int
    end: int
    text: str
    rank: str

    def applied(self, source: bytes) -> bytes:
        """Return the file's content with the mutation in it."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def shown(self, source: bytes) -> str:
        """Return the mutation in a line, as ``a [+ -> -] b``."""
        line_start = source.rfind(b"\n", 0, self.start) + 1
        line_end = source.find(b"\n", self.end)
        old = source[self.start : self.end].decode()
        left, right = source[line_start : self.start].decode(), source[self.end : line_end].decode()
        return f"{left.lstrip()}[{old} -> {self.text}]{right}"


def places_of(folder: Path, file: str, seed: int) -> list[Place]:
    """Return what can be mutated in a file, in order of the source.

    Args:
        folder: the top of the repository.
        file: below it.
        seed: of the ranks.
    """
    source = (folder / file).read_bytes()
    lines = source.splitlines(keepends=True)
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line))
    found, seen = [], Counter[str]()
    for where, node in _code(ast.parse(source), ""):
        for start, end, text in _edits(node, source, offsets):
            line = source.count(b"\n", 0, start) + 1
            before = lines[line - 1].decode().strip()
            known = f"{seed} {file} {where} {before} {text}"
            seen[known] += 1
            rank = hashlib.sha256(f"{known} {seen[known]}".encode()).hexdigest()
            found.append(Place(file, line, before, start, end, text, rank))
    return sorted(found, key=lambda place: place.start)


def chosen(places: Sequence[Place], number: int, rooms: Sequence[str]) -> list[Place]:
    """Return the places of the lowest rank: of each room as many, of each file as few as may be.

    Args:
        places: of all files.
        number: how many.
        rooms: folders that each has its share of them.
    """
    taken: list[Place] = []
    for index, room in enumerate(rooms):
        share = number // len(rooms) + (index < number % len(rooms))
        inside = sorted((p for p in places if p.file.startswith(room)), key=lambda p: p.rank)
        turn: Counter[str] = Counter()
        turns = []
        for place in inside:
            turns.append((turn[place.file], place.rank, place))
            turn[place.file] += 1
        taken += [place for *_, place in sorted(turns, key=lambda row: row[:2])[:share]]
    return sorted(taken, key=lambda place: (place.file, place.start))


def _code(node: ast.AST, where: str) -> Iterator[tuple[str, ast.AST]]:
    """Every node that computes something, with the name of its function; no types, no messages."""
    if isinstance(node, (ast.Raise, ast.Import, ast.ImportFrom, ast.JoinedStr, ast.Assert)):
        return
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        where = f"{where}.{node.name}"
    yield where, node
    types = {"annotation", "returns", "decorator_list"}
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and _is_type(node.value):
        return
    if isinstance(node, ast.Call) and ast.unparse(node.func) in (
        "isinstance",
        "issubclass",
        "cast",
    ):
        types |= {"args"}
        yield from _code(node.args[ast.unparse(node.func) == "cast"], where)
    for name, value in ast.iter_fields(node):
        if name in types:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _code(child, where)


def _is_type(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Subscript) and ast.unparse(value.value) in _TYPES


def _edits(node: ast.AST, source: bytes, offsets: list[int]) -> Iterator[tuple[int, int, str]]:
    """Where to replace what by what, in bytes."""

    def begin(one: ast.expr) -> int:
        return offsets[one.lineno - 1] + one.col_offset

    def end(one: ast.expr) -> int:
        assert one.end_lineno is not None and one.end_col_offset is not None
        return offsets[one.end_lineno - 1] + one.end_col_offset

    def between(left: ast.expr, right: ast.expr, kind: ast.AST) -> Iterator[tuple[int, int, str]]:
        if type(kind) in _OPERATORS:
            old, new = _OPERATORS[type(kind)]
            gap = re.sub(rb"#[^\n]*", lambda m: b" " * len(m[0]), source[end(left) : begin(right)])
            at = end(left) + gap.index(old.encode())
            yield at, at + len(old), new

    if isinstance(node, ast.BinOp):
        yield from between(node.left, node.right, node.op)
    elif isinstance(node, ast.BoolOp):
        yield from between(node.values[0], node.values[1], node.op)
    elif isinstance(node, ast.Compare):
        for left, kind, right in zip(
            [node.left, *node.comparators], node.ops, node.comparators, strict=False
        ):
            yield from between(left, right, kind)
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.UAdd):
        yield begin(node), begin(node.operand), ""  # a sign, a "not"
    elif isinstance(node, ast.Constant) and type(node.value) in (bool, int, float):
        yield begin(node), end(node), _other(node.value)
    elif isinstance(node, (ast.Name, ast.Attribute)):
        name = node.id if isinstance(node, ast.Name) else node.attr
        if name in _NAMES and isinstance(node.ctx, ast.Load):
            yield end(node) - len(name), end(node), _NAMES[name]


def _other(value: object) -> str:
    if isinstance(value, bool):
        return str(not value)
    if isinstance(value, int):
        return str(value + 1)
    assert isinstance(value, float)
    return repr(round(value * 1.2, 12) if value else 0.1)

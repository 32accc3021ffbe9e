"""A machine for pickles that calls nothing, and makes room for nothing that is only declared.

A pickle is a program for a small machine with a stack and a memory. Its instructions have not
changed since protocol 5; ``pickletools`` in the standard library documents each under the name that
stands beside it below. Python's own machine calls what a pickle names. torch's calls only what it
knows, but makes gigabytes of a few bytes: it believes declared sizes, and counts nothing. Here each
instruction counts, and each size is held against what is left of the file.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from fcos_lightning.weights.allowance import Stretch
from fcos_lightning.weights.stand_ins import Inert, UnsafeFile

#: Instructions of one pickle. A detector with its optimiser needs some 20,000.
MOST_INSTRUCTIONS = 500_000

#: Bytes of an integer. The largest known in honest files are states of random generators, of 16.
_LONGEST_INTEGER = 64

#: Characters of a name, and of a number that is written in digits.
LONGEST_NAME = 1000

_NO_PICKLE = "it is no pickle of a known kind"


class Maker(Protocol):
    """Makes what a pickle cannot say by itself: all that it names."""

    def named(self, module: str, name: str) -> Any:  # noqa: ANN401
        """Return what stands for a class or a function."""

    def made(self, what: object, arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401
        """Return what stands for the result of a call."""

    def fill(self, target: object, state: object) -> None:
        """Give a state to what was made."""

    def persistent(self, pid: object) -> Any:  # noqa: ANN401
        """Return what lies outside the pickle."""

    def key(self, value: object) -> Hashable:
        """Return a value as a key of a dictionary, or an element of a set."""


class PickleMachine:
    """Runs one pickle.

    Args:
        stretch: the file from where the pickle begins; left where the pickle ends.
        maker: of what the pickle names.
    """

    def __init__(self, stretch: Stretch, maker: Maker) -> None:
        self.stretch = stretch
        self.maker = maker
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # what lies under each mark
        self.memory: dict[int, Any] = {}

    def run(self) -> Any:  # noqa: ANN401  # data of any form
        """Return what the pickle holds.

        Raises:
            UnsafeFile: if it is no pickle, or asks for more than it holds.
        """
        for _ in range(MOST_INSTRUCTIONS):
            code = self.stretch.read(1)
            if code == b".":
                return self.top()
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise UnsafeFile(_NO_PICKLE)
            instruction(self)
        raise UnsafeFile(f"it has more than {MOST_INSTRUCTIONS} parts beside its tensors")

    # Reading what stands behind an instruction.

    def number(self, form: str) -> Any:  # noqa: ANN401
        """Return a number, its form in the notation of ``struct``."""
        (value,) = struct.unpack(form, self.stretch.read(struct.calcsize(form)))
        return value

    def content(self, form: str) -> bytes:
        """Return bytes that stand behind their own number."""
        return self.stretch.read(self.number(form))

    def text(self, form: str) -> str:
        """Return a text that stands behind the number of its bytes."""
        return self.content(form).decode("utf-8", "surrogatepass")

    def integer(self, form: str) -> int:
        """Return an integer of any size that stands behind the number of its bytes."""
        length = self.number(form)
        if length > _LONGEST_INTEGER:
            raise UnsafeFile(f"it has a number of {length} bytes")
        return int.from_bytes(self.stretch.read(length), "little", signed=True)

    def word(self) -> str:
        """Return a line that is a name or a number."""
        line = self.stretch.line()
        if len(line) > LONGEST_NAME:
            raise UnsafeFile(f"it has a name of {len(line)} characters")
        return line.decode()

    def digits(self) -> int | bool:
        """Return an integer that is written in digits; 00 and 01 are what booleans once were."""
        word = self.word().removesuffix("L")
        if len(word) > 2 * _LONGEST_INTEGER:
            raise UnsafeFile(f"it has a number of {len(word)} digits")
        return {"00": False, "01": True}[word] if word in ("00", "01") else int(word)

    def quoted(self) -> str:
        """Return a text of Python 2, which may be the content of an array."""
        line = self.stretch.line()
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[:1] != line[-1:]:
            raise UnsafeFile(_NO_PICKLE)
        return str(codecs.escape_decode(line[1:-1])[0], "latin1")

    # The stack and the memory.

    def push(self, value: object) -> None:
        """Put a value on top of the stack."""
        self.stack.append(value)

    def top(self) -> Any:  # noqa: ANN401
        """Return the last value."""
        if not self.stack:
            raise UnsafeFile(_NO_PICKLE)
        return self.stack[-1]

    def take(self, number: int) -> list[Any]:
        """Take the last values off the stack, in their order."""
        if number > len(self.stack):
            raise UnsafeFile(_NO_PICKLE)
        kept = len(self.stack) - number
        values = self.stack[kept:]
        del self.stack[kept:]
        return values

    def mark(self) -> None:
        """Mark where a row of values begins."""
        self.below.append(self.stack)
        self.stack = []

    def row(self) -> list[Any]:
        """Take all values since the last mark."""
        if not self.below:
            raise UnsafeFile(_NO_PICKLE)
        values, self.stack = self.stack, self.below.pop()
        return values

    def drop(self) -> None:
        """Forget the last value, or the last mark."""
        if self.stack:
            self.stack.pop()
        else:
            self.row()

    def remember(self, index: int | bool) -> None:
        """Keep the last value for later."""
        self.memory[index] = self.top()

    def recall(self, index: int | bool) -> None:
        """Put a value on the stack that was kept."""
        if index not in self.memory:
            raise UnsafeFile(_NO_PICKLE)
        self.push(self.memory[index])

    # Containers and what is made of names.

    def extend(self, values: list[Any]) -> None:
        """Add values to the list, or the set, that is last on the stack."""
        target = self.top()
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, set):
            target.update(map(self.maker.key, values))
        elif not isinstance(target, Inert):
            raise UnsafeFile(_NO_PICKLE)

    def fill(self, values: list[Any]) -> None:
        """Add keys and values, which take turns, to the dictionary that is last on the stack."""
        target = self.top()
        if isinstance(target, dict):
            target.update(self.mapping(values))
        elif not isinstance(target, Inert):
            raise UnsafeFile(_NO_PICKLE)

    def mapping(self, values: list[Any]) -> dict[Hashable, Any]:
        """Return a dictionary of keys and values that take turns."""
        keys = map(self.maker.key, values[::2])
        return dict(zip(keys, values[1::2], strict=True))

    def name(self, module: object, name: object) -> None:
        """Put what stands for a name on the stack."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise UnsafeFile(_NO_PICKLE)
        self.push(self.maker.named(module, name))

    def call(self, what: object, arguments: object) -> None:
        """Put what stands for the result of a call on the stack."""
        if not isinstance(arguments, tuple):
            raise UnsafeFile(_NO_PICKLE)
        self.push(self.maker.made(what, arguments))

    def call_row(self) -> None:
        """Likewise, with the class and its arguments in a row."""
        what, *arguments = self.row()
        self.call(what, tuple(arguments))

    def call_named(self) -> None:
        """Likewise, with the class in the next two lines."""
        arguments = tuple(self.row())
        self.name(self.word(), self.word())
        self.call(self.take(1)[0], arguments)

    def set_state(self) -> None:
        """Give the last value as a state to the one before."""
        (state,) = self.take(1)
        self.maker.fill(self.top(), state)


def _constant(value: object) -> Callable[[PickleMachine], None]:
    return lambda m: m.push(value)


def _tuple(number: int) -> Callable[[PickleMachine], None]:
    return lambda m: m.push(tuple(m.take(number)))


_INSTRUCTIONS: dict[bytes, Callable[[PickleMachine], object]] = {
    b"\x80": lambda m: m.number("<B"),  # PROTO
    b"\x95": lambda m: m.number("<Q"),  # FRAME: how to read ahead, which we do not
    b"(": PickleMachine.mark,  # MARK
    b"0": PickleMachine.drop,  # POP
    b"1": PickleMachine.row,  # POP_MARK
    b"2": lambda m: m.push(m.top()),  # DUP
    b"N": _constant(None),  # NONE
    b"\x88": _constant(True),  # NEWTRUE
    b"\x89": _constant(False),  # NEWFALSE
    b"K": lambda m: m.push(m.number("<B")),  # BININT1
    b"M": lambda m: m.push(m.number("<H")),  # BININT2
    b"J": lambda m: m.push(m.number("<i")),  # BININT
    b"G": lambda m: m.push(m.number(">d")),  # BINFLOAT
    b"I": lambda m: m.push(m.digits()),  # INT
    b"L": lambda m: m.push(m.digits()),  # LONG
    b"F": lambda m: m.push(float(m.word())),  # FLOAT
    b"\x8a": lambda m: m.push(m.integer("<B")),  # LONG1
    b"\x8b": lambda m: m.push(m.integer("<I")),  # LONG4
    b"\x8c": lambda m: m.push(m.text("<B")),  # SHORT_BINUNICODE
    b"X": lambda m: m.push(m.text("<I")),  # BINUNICODE
    b"\x8d": lambda m: m.push(m.text("<Q")),  # BINUNICODE8
    b"V": lambda m: m.push(m.stretch.line().decode("raw-unicode-escape")),  # UNICODE
    b"S": lambda m: m.push(m.quoted()),  # STRING
    b"U": lambda m: m.push(str(m.content("<B"), "latin1")),  # SHORT_BINSTRING
    b"T": lambda m: m.push(str(m.content("<I"), "latin1")),  # BINSTRING
    b"C": lambda m: m.push(m.content("<B")),  # SHORT_BINBYTES
    b"B": lambda m: m.push(m.content("<I")),  # BINBYTES
    b"\x8e": lambda m: m.push(m.content("<Q")),  # BINBYTES8
    b"\x96": lambda m: m.push(bytearray(m.content("<Q"))),  # BYTEARRAY8
    b")": _constant(()),  # EMPTY_TUPLE
    b"\x85": _tuple(1),  # TUPLE1
    b"\x86": _tuple(2),  # TUPLE2
    b"\x87": _tuple(3),  # TUPLE3
    b"t": lambda m: m.push(tuple(m.row())),  # TUPLE
    b"]": lambda m: m.push([]),  # EMPTY_LIST
    b"l": lambda m: m.push(m.row()),  # LIST
    b"a": lambda m: m.extend(m.take(1)),  # APPEND
    b"e": lambda m: m.extend(m.row()),  # APPENDS
    b"}": lambda m: m.push({}),  # EMPTY_DICT
    b"d": lambda m: m.push(m.mapping(m.row())),  # DICT
    b"s": lambda m: m.fill(m.take(2)),  # SETITEM
    b"u": lambda m: m.fill(m.row()),  # SETITEMS
    b"\x8f": lambda m: m.push(set()),  # EMPTY_SET
    b"\x90": lambda m: m.extend(m.row()),  # ADDITEMS
    b"\x91": lambda m: m.push(frozenset(map(m.maker.key, m.row()))),  # FROZENSET
    b"p": lambda m: m.remember(m.digits()),  # PUT
    b"q": lambda m: m.remember(m.number("<B")),  # BINPUT
    b"r": lambda m: m.remember(m.number("<I")),  # LONG_BINPUT
    b"\x94": lambda m: m.remember(len(m.memory)),  # MEMOIZE
    b"g": lambda m: m.recall(m.digits()),  # GET
    b"h": lambda m: m.recall(m.number("<B")),  # BINGET
    b"j": lambda m: m.recall(m.number("<I")),  # LONG_BINGET
    b"c": lambda m: m.name(m.word(), m.word()),  # GLOBAL
    b"\x93": lambda m: m.name(*m.take(2)),  # STACK_GLOBAL
    b"R": lambda m: m.call(*m.take(2)),  # REDUCE
    b"\x81": lambda m: m.call(*m.take(2)),  # NEWOBJ
    b"\x92": lambda m: m.call(*m.take(3)[:2]),  # NEWOBJ_EX, without named arguments
    b"i": PickleMachine.call_named,  # INST
    b"o": PickleMachine.call_row,  # OBJ
    b"b": PickleMachine.set_state,  # BUILD
    b"Q": lambda m: m.push(m.maker.persistent(*m.take(1))),  # BINPERSID
}

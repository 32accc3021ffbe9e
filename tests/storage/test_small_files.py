"""Files that should be small: read whole, or refused before they take memory."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from fcos_lightning.errors import UserError
from fcos_lightning.storage.small_files import read_small


def test_a_small_file_takes_little_memory_whatever_is_allowed(
    tmp_path: Path, little_memory: None
) -> None:
    file = tmp_path / "small"
    file.write_bytes(b"few")
    assert read_small(file, 2**34) == b"few"


@pytest.mark.parametrize("size", [0, 1, 10])
def test_a_file_of_the_size_that_is_allowed_is_read_whole(tmp_path: Path, size: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * size)
    assert read_small(file, 10) == b"x" * size


def test_a_larger_file_is_refused_before_it_takes_memory(
    tmp_path: Path, little_memory: None
) -> None:
    file = tmp_path / "large"
    with file.open("wb") as stream:
        stream.truncate(2**34)
    with pytest.raises(UserError, match=r"large is over 10 bytes: refused"):
        read_small(file, 10)
    with pytest.raises(UserError, match="no, too large"):
        read_small(file, 10, too_large="no, too large")


@pytest.mark.parametrize("size", [0, 70_000, 300_000])
def test_what_does_not_say_how_much_it_holds_is_read_whole(tmp_path: Path, size: int) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = bytes(range(256)) * (size // 256)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    assert read_small(pipe, 400_000) == content
    writer.join(20)


def test_what_never_ends_is_refused() -> None:
    with pytest.raises(UserError, match="over 200000 bytes"):
        read_small(Path("/dev/zero"), 200_000)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mine cannot be read: No such file or directory; look"):
        read_small(tmp_path / "none", 10, named="mine", advice="; look")

"""TIFF files of any size, written a row of tiles at a time."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np


def write_tiled(path: Path, height: int, width: int, side: int = 512, deflate: bool = True) -> Path:
    """Write an RGB image in square tiles: a pattern whose tiles all differ."""
    across, down = -(-width // side), -(-height // side)
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (across, side // 16, side // 16, 3), dtype=np.uint8)
    pattern = coarse.repeat(16, axis=1).repeat(16, axis=2)
    offsets, sizes = [], []
    with path.open("wb") as file:
        file.write(b"II*\0" + bytes(4))
        for row in range(down):
            for column in range(across):
                content = np.roll(pattern[column], row * 16, axis=0).tobytes()
                content = zlib.compress(content, 1) if deflate else content
                offsets.append(file.tell())
                sizes.append(len(content))
                file.write(content)
        places = []
        for numbers, kind in ((offsets, "<u4"), (sizes, "<u4"), ([8, 8, 8], "<u2")):
            places.append(file.tell() + file.tell() % 2)
            file.write(bytes(file.tell() % 2) + np.array(numbers, dtype=kind).tobytes())
        count = across * down
        tags = [
            *((256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, places[2])),
            *((259, 3, 1, 8 if deflate else 1), (262, 3, 1, 2), (277, 3, 1, 3), (284, 3, 1, 1)),
            *((322, 4, 1, side), (323, 4, 1, side), (324, 4, count, places[0])),
            (325, 4, count, places[1]),
        ]
        directory = file.tell() + file.tell() % 2
        file.write(bytes(file.tell() % 2) + np.array(len(tags), dtype="<u2").tobytes())
        for tag, kind, number, value in tags:
            file.write(np.array([tag, kind], dtype="<u2").tobytes())
            file.write(np.array([number, value], dtype="<u4").tobytes())
        file.write(bytes(4))
        file.seek(4)
        file.write(np.array(directory, dtype="<u4").tobytes())
    return path

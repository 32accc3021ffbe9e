"""Rows of TIFF files against Pillow, which reads them at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from fcos_lightning.data import images
from fcos_lightning.data.images import read_image
from fcos_lightning.errors import UserError
from fcos_lightning.inference.tiling import tiff_rows
from fcos_lightning.inference.tiling.tiff_rows import rows_of


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_rows, "LARGEST_PX", 100)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return values[:, :, 0] if channels == 1 else values


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("compression", [None, "tiff_deflate", "tiff_adobe_deflate"])
@pytest.mark.parametrize(
    "layout",
    [{}, {278: 7}, {278: 7, 317: 2}, {322: 32, 323: 16}, {322: 16, 323: 48, 317: 2}],
)
def test_rows_are_those_that_pillow_reads(
    tmp_path: Path, channels: int, compression: str | None, layout: dict[int, int]
) -> None:
    if compression is None and 317 in layout:
        layout = {key: value for key, value in layout.items() if key != 317}
    pixels = noise(61, 83, channels)
    file = tmp_path / "a.tif"
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for key, value in layout.items():
        tags[key] = value
    Image.fromarray(pixels).save(file, compression=compression, tiffinfo=tags)
    rows = rows_of(file)
    assert rows is not None and (rows.height, rows.width) == (61, 83)
    expected = read_image(file)
    for first, last in ((0, 20), (20, 21), (21, 61), (5, 40)):
        np.testing.assert_array_equal(rows.rows(first, last), expected[first:last])


def test_what_is_not_read_in_pieces_says_what_to_do(tmp_path: Path) -> None:
    Image.fromarray(noise(20, 20)).save(tmp_path / "a.png")
    Image.fromarray(noise(20, 20)).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    Image.fromarray(noise(20, 20, 1).astype(np.uint16)).save(tmp_path / "deep.tif")
    for name in ("a.png", "lzw.tif", "deep.tif"):
        with pytest.raises(UserError, match=f"{name} has 20 x 20 pixels, too many .* 8 bit"):
            rows_of(tmp_path / name)
    Image.fromarray(noise(5, 5)).save(tmp_path / "small.png")
    assert rows_of(tmp_path / "small.png") is None
    with pytest.raises(UserError, match=r"absent.tif does not exist"):
        rows_of(tmp_path / "absent.tif")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    Image.fromarray(noise(60, 40)).save(file, compression="tiff_deflate")
    content = bytearray(file.read_bytes())
    tags = images.tiff_tags(file)
    content[tags[273][0] + 20 : tags[273][0] + 60] = bytes(40)
    file.write_bytes(content)
    rows = rows_of(file)
    assert rows is not None
    with pytest.raises(UserError, match=r"image .*a\.tif cannot be read"):
        rows.rows(0, 60)

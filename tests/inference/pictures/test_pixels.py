from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fcos_lightning.data.images import read_image
from fcos_lightning.errors import UserError
from fcos_lightning.inference.pictures.pixels import rgb_pixels

GENERATOR = np.random.default_rng(0)
RGB = GENERATOR.integers(0, 256, (7, 11, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]
DEEP = GENERATOR.integers(0, 65536, (7, 11), dtype=np.uint16)


def test_every_guise_of_a_picture_gives_the_same_pixels(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    planes = torch.from_numpy(RGB).permute(2, 0, 1)
    with Image.open(tmp_path / "a.png") as lazy:
        guises = [
            str(tmp_path / "a.png"),
            tmp_path / "a.png",
            lazy,
            Image.fromarray(RGB),
            RGB,
            RGB[:, ::-1][:, ::-1],  # a view
            planes,
            planes.contiguous(),
            np.dstack([RGB, GREY]),  # alpha is dropped
            torch.cat([planes, planes[:1]]),
            RGB.astype(np.uint16) * 256 + 200,  # the high byte counts
            torch.from_numpy(RGB.astype(np.uint16) * 256 + 200).permute(2, 0, 1),
        ]
        for guise in guises:
            pixels = rgb_pixels(guise)
            np.testing.assert_array_equal(pixels, RGB)
            assert pixels.flags.c_contiguous and pixels.flags.owndata


def test_what_is_given_is_left_alone() -> None:
    given = RGB.copy()
    rgb_pixels(given)[:] = 0
    np.testing.assert_array_equal(given, RGB)


@pytest.mark.parametrize(
    "guise",
    [GREY, GREY[:, :, None], torch.from_numpy(GREY.copy()), torch.from_numpy(GREY.copy())[None]],
)
def test_grey_stands_for_three_equal_colours(guise: Any) -> None:
    np.testing.assert_array_equal(rgb_pixels(guise), np.stack([GREY] * 3, axis=2))


def pil_images() -> dict[str, Image.Image]:
    palette = Image.fromarray(RGB).quantize(16)
    see_through = Image.fromarray(np.dstack([RGB, GREY]), "RGBA")
    return {
        "L": Image.fromarray(GREY),
        "I;16": Image.fromarray(DEEP),
        "P": palette,
        "RGBA": see_through,
        "LA": see_through.convert("LA"),
        "1": Image.fromarray(GREY).convert("1"),
    }


@pytest.mark.parametrize("mode", pil_images())
def test_pil_images_follow_the_policy_for_files(mode: str, tmp_path: Path) -> None:
    image = pil_images()[mode]
    assert image.mode == mode
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(rgb_pixels(image), read_image(tmp_path / "a.png"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
def test_pictures_are_turned_as_the_camera_says(
    orientation: int, ending: str, tmp_path: Path
) -> None:
    """Against the definition (CIPA DC-008): which side the first row and the first column are."""
    large = np.asarray(Image.fromarray(RGB).resize((96, 64)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    Image.fromarray(large).save(path, exif=exif, **({"lossless": True} if ending == "webp" else {}))
    stored = read_image(path).astype(int)
    upright = {
        1: stored,  # row 0 top, column 0 left
        2: stored[:, ::-1],  # top, right
        3: stored[::-1, ::-1],  # bottom, right
        4: stored[::-1],  # bottom, left
        5: stored.transpose(1, 0, 2),  # left, top
        6: stored.transpose(1, 0, 2)[:, ::-1],  # right, top
        7: stored.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
        8: stored.transpose(1, 0, 2)[::-1],  # left, bottom
    }[orientation]
    np.testing.assert_array_equal(rgb_pixels(path), upright)
    with Image.open(path) as lazy:
        np.testing.assert_array_equal(rgb_pixels(lazy), upright)
        np.testing.assert_array_equal(rgb_pixels(lazy), upright)  # and not twice
    with Image.open(path) as loaded:
        loaded.load()
        np.testing.assert_array_equal(rgb_pixels(loaded), upright)


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_broken_metadata_turn_nothing(exif: bytes, tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.jpg", exif=exif)
    np.testing.assert_array_equal(rgb_pixels(tmp_path / "a.jpg"), read_image(tmp_path / "a.jpg"))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (RGB.astype(np.float32) / 255, r"array \[7, 11, 3\] of float32 .*give uint8"),
        (RGB.astype(np.int64), "of int64"),
        (RGB > 3, "of bool"),
        (RGB.astype(str), "of <U3"),
        (RGB.transpose(2, 0, 1), r"give array.transpose\(1, 2, 0\)"),
        (torch.from_numpy(RGB), r"give tensor.permute\(2, 0, 1\)"),
        (torch.rand(3, 7, 11), r"tensor \[3, 7, 11\] of float32"),
        (torch.rand(3, 7, 11).bfloat16(), "of float32"),
        (torch.zeros(3, 7, 11, dtype=torch.complex64), "is no image"),
        (RGB[None], r"array \[1, 7, 11, 3\] .*several images are given as a list"),
        (torch.zeros(2, 3, 7, 11, dtype=torch.uint8), "given as a list"),
        (RGB[:, 0, 0], r"array \[7\] is no image"),
        (np.zeros((7, 11, 2), np.uint8), "is no image"),
        (np.zeros((7, 11, 5), np.uint8), "is no image"),
        (np.zeros((0, 11, 3), np.uint8), "holds no pixels"),
        (torch.zeros(3, 0, 11, dtype=torch.uint8), "holds no pixels"),
        (Image.new("RGB", (0, 3)), "holds nothing"),
        (None, "cannot be a NoneType; give a path, a PIL image"),
        (7, "cannot be a int"),
        (["a.jpg"], "cannot be a list"),
        ("absent.jpg", "absent.jpg does not exist"),
        ("", "is a folder"),
        (".", "is a folder"),
    ],
)
def test_what_is_no_image_costs_one_clear_line(image: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        rgb_pixels(image)
    assert len(str(caught.value).splitlines()) == 1


def test_a_damaged_pil_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    Image.fromarray(np.kron(RGB, np.ones((20, 20, 1), np.uint8))).save(path)
    path.write_bytes(path.read_bytes()[:-300])
    with Image.open(path) as image, pytest.raises(UserError, match=r"cut.png cannot be read"):
        rgb_pixels(image)

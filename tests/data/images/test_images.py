"""The stored pixels of every mode and format, and one clear line for what cannot be read."""

import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from fcos_lightning.data.images import image_header, image_size, is_turned, read_image, rgb
from fcos_lightning.data.stores.loose import LooseFiles
from fcos_lightning.errors import UserError

# Four colours that no rotation or flip leaves in place, drawn as 20 x 40 blocks.
CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)
PIXELS = CORNERS.repeat(10, axis=0).repeat(20, axis=1)


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
def test_eight_orientations_give_the_stored_pixels(
    tmp_path: Path, orientation: int, ending: str
) -> None:
    path = tmp_path / f"image.{ending}"
    options = {"lossless": True} if ending == "webp" else {}
    if ending == "jpg":
        options = {"quality": 100, "subsampling": 0}
    Image.fromarray(PIXELS).save(path, exif=with_orientation(orientation), **options)

    assert image_size(path) == (20, 40)
    np.testing.assert_allclose(read_image(path).astype(int), PIXELS, atol=2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_turned_by_its_xmp_gives_the_stored_pixels(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "image.tif"
    xmp = f'<x><rdf tiff:Orientation="{orientation}"/></x>'.encode()
    Image.fromarray(PIXELS).save(path, tiffinfo={700: xmp})

    assert image_size(path) == (20, 40)
    np.testing.assert_array_equal(read_image(path), PIXELS)


def row(*values: int) -> np.ndarray:
    return np.array([values])


def grey(*values: int) -> list[list[int]]:
    return [[value] * 3 for value in values]


def image_of(mode: str, *values: object) -> Image.Image:
    image = Image.new(mode, (len(values), 1))
    for x, value in enumerate(values):
        image.putpixel((x, 0), value)  # type: ignore[arg-type]
    return image


def palette() -> Image.Image:
    image = image_of("P", 0, 1, 2)
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    return image


BLACK_RED = [[0, 0, 0], [255, 0, 0]]
MODES = {
    "1-bit": (image_of("1", 0, 255, 0), "png", grey(0, 255, 0)),
    "grey": (image_of("L", 0, 100, 255), "png", grey(0, 100, 255)),
    "grey and alpha": (image_of("LA", (9, 255), (80, 0)), "png", grey(9, 80)),
    "palette": (palette(), "png", [[10, 20, 30], [40, 50, 60], [70, 80, 90]]),
    "RGB": (image_of("RGB", (1, 2, 3), (250, 0, 9)), "png", [[1, 2, 3], [250, 0, 9]]),
    "RGBA": (image_of("RGBA", (1, 2, 3, 0), (250, 0, 9, 128)), "png", [[1, 2, 3], [250, 0, 9]]),
    "CMYK": (image_of("CMYK", (0, 0, 0, 255), (0, 255, 255, 0)), "tif", BLACK_RED),
    "CMYK JPEG": (image_of("CMYK", (0, 0, 0, 255), (0, 0, 0, 255)), "jpg", grey(0, 0)),
    "16-bit": (
        Image.fromarray(row(0, 256, 32768, 40000, 65535).astype(np.uint16)),
        "png",
        grey(0, 1, 128, 156, 255),
    ),
    "16-bit TIFF": (
        Image.fromarray(row(0, 32768, 65535).astype(np.uint16)),
        "tif",
        grey(0, 128, 255),
    ),
    "16-bit PGM": (
        Image.fromarray(row(0, 32768, 65535).astype(np.uint16)),
        "pgm",
        grey(0, 128, 255),
    ),
    "32-bit of 16": (
        Image.fromarray(row(0, 32768, 65535).astype(np.int32)),
        "tif",
        grey(0, 128, 255),
    ),
    "32-bit": (Image.fromarray(row(-1000, 0, 1000).astype(np.int32)), "tif", grey(0, 128, 255)),
    "32-bit flat": (Image.fromarray(row(-7, -7).astype(np.int32)), "tif", grey(0, 0)),
    "float": (Image.fromarray(row(0, 1).astype(np.float32) / 2), "tif", grey(0, 128)),
    "float with NaN": (
        Image.fromarray(np.array([[np.nan, -2, 2, np.inf]], dtype=np.float32)),
        "tif",
        grey(128, 0, 255, 128),
    ),
}


@pytest.mark.parametrize("name", MODES)
def test_golden_pixels_of_every_mode(tmp_path: Path, name: str) -> None:
    image, ending, expected = MODES[name]
    path = tmp_path / f"image.{ending}"
    image.save(path)

    pixels = read_image(path)

    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable and pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, [expected])
    assert image_size(path) == pixels.shape[:2]


def test_48_bit_colour_keeps_the_same_byte_as_16_bit_grey(tmp_path: Path) -> None:
    import cv2

    values = np.array([0, 1000, 32768, 40000, 65535], dtype=np.uint16)
    grey_path, colour_path = tmp_path / "grey.png", tmp_path / "colour.png"
    cv2.imwrite(str(grey_path), values[None])
    cv2.imwrite(str(colour_path), values[None, :, None].repeat(3, axis=2))

    np.testing.assert_array_equal(read_image(grey_path), read_image(colour_path))


@pytest.mark.parametrize("mode", ["P", "PA"])
def test_a_transparent_palette_keeps_its_stored_colours(tmp_path: Path, mode: str) -> None:
    image = palette()
    path = tmp_path / "image.png"
    image.save(path, transparency=bytes([0, 128, 255]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(path)[0, 0], [10, 20, 30])


def noise(side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))


def cloudy(height: int, width: int) -> Image.Image:
    """Clouds in colour, with something to keep at every quality."""
    coarse = np.random.default_rng(2).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3))
    clouds = Image.fromarray(coarse.astype(np.uint8)).resize((width, height), Image.Resampling.BOX)
    return Image.blend(clouds, noise(max(height, width)).crop((0, 0, width, height)), 0.2)


def by_pillow(path: Path) -> NDArray[np.uint8] | None:
    """Decode by Pillow alone; None if it refuses."""
    try:
        return np.array(Image.open(path).convert("RGB"))
    except Exception:
        return None


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"progressive": True},
        {"optimize": True},
        {"restart_marker_blocks": 3},
        {"keep_rgb": True},
    ],
    ids=str,
)
def test_jpegs_have_pillows_pixels_by_the_faster_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, kind: dict[str, object]
) -> None:
    path = tmp_path / "image.jpg"
    monkeypatch.setattr(rgb, "_to_rgb", None)  # Pillow is not asked
    for size in ((1, 1), (7, 9), (64, 48), (123, 85)):
        image = cloudy(*size).convert(mode)
        for quality in (5, 50, 75, 90, 100):
            for subsampling in ("4:4:4",) if "keep_rgb" in kind else ("4:4:4", "4:2:2", "4:2:0"):
                image.save(path, quality=quality, subsampling=subsampling, **kind)
                pixels = read_image(path)
                np.testing.assert_array_equal(pixels, by_pillow(path))
                assert pixels.flags.writeable and pixels.flags.c_contiguous


def test_damaged_jpegs_are_judged_as_by_pillow(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    path = tmp_path / "damaged.jpg"
    judged = {True: 0, False: 0}
    for kind in ({}, {"progressive": True}, {"restart_marker_blocks": 2}):
        buffer = io.BytesIO()
        cloudy(60, 80).save(buffer, "JPEG", quality=80, **kind)
        whole = buffer.getvalue()
        start = whole.index(b"\xff\xda")  # of the compressed pixels
        for _ in range(40):
            place = int(random.integers(start, len(whole)))
            torn = whole[place + int(random.integers(1, 40)) :]
            flipped = bytes([int(random.integers(0, 256))])
            for damaged in (
                whole[:place],
                whole[:place] + b"\xff\xd9",
                whole[:place] + torn,
                whole[:place] + flipped + whole[place + 1 :],
                whole[:place] + bytes(2000),
                whole + torn,
            ):
                path.write_bytes(damaged)
                expected = by_pillow(path)
                judged[expected is None] += 1
                if expected is None:
                    with pytest.raises(UserError, match=r"damaged\.jpg"):
                        read_image(path)
                else:
                    np.testing.assert_array_equal(read_image(path), expected)
    assert min(judged.values()) > 100


def test_without_the_faster_decoder_pillow_reads_jpegs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object, **__: object) -> None:
        raise RuntimeError("decode_jpeg: torchvision not compiled with libjpeg support")

    path = tmp_path / "image.jpg"
    cloudy(60, 80).save(path)
    whole = read_image(path)
    monkeypatch.setattr("torchvision.io.decode_jpeg", unavailable)
    np.testing.assert_array_equal(read_image(path), whole)


def test_a_large_jpeg_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.jpg"
    cloudy(60, 80).save(path)
    monkeypatch.setattr(rgb, "_decode_jpeg", None)
    with pytest.raises(UserError, match=r"large\.jpg has 80 x 60 pixels"):
        read_image(path, max_pixels=4799)


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "gif", "tif", "webp", "ppm", "jp2"])
def test_a_truncated_image_is_refused_by_name(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"cut.{ending}"
    noise().save(path)
    whole = path.read_bytes()
    assert read_image(path).shape == (64, 64, 3)

    for part in (2, 4, 10):
        path.write_bytes(whole[: len(whole) * (part - 1) // part])
        with pytest.raises(UserError, match=r"cut\.") as caught:
            read_image(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff\xe0", b"GIF89a"])
def test_what_is_no_image_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.jpg"
    path.write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(UserError, match=r"odd\.jpg"):
            read(path)


def test_missing_files_and_folders_are_refused_by_name(tmp_path: Path) -> None:
    for read in (read_image, image_size):
        with pytest.raises(UserError, match=r"gone\.jpg does not exist"):
            read(tmp_path / "gone.jpg")
        with pytest.raises(UserError, match=tmp_path.name):
            read(tmp_path)


def test_any_bytes_flipped_give_an_image_or_a_user_error(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    path = tmp_path / "image"
    for kind in ("JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP"):
        buffer = io.BytesIO()
        noise(16).save(buffer, kind)
        for _ in range(60):
            content = bytearray(buffer.getvalue())
            for place in random.integers(0, min(len(content), 200), 4):
                content[place] = random.integers(0, 256)
            path.write_bytes(content)
            try:
                pixels = read_image(path, max_pixels=10_000)
            except UserError:
                continue
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3


def test_postscript_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(UserError, match="not an image"):
        read_image(path)


def bomb(path: Path, side: int) -> Path:
    """A valid PNG of some kilobytes: black, one bit a pixel."""
    Image.new("1", (side, side)).save(path)
    assert path.stat().st_size < 200_000
    return path


@pytest.mark.parametrize("side", [10_001, 13_000])
def test_the_cap_is_read_from_the_header_without_a_warning(tmp_path: Path, side: int) -> None:
    path = bomb(tmp_path / "bomb.png", side)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match=r"bomb\.png has .* limit of 100000000"):
            read_image(path)


def test_the_cap_is_inclusive_and_can_be_set(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    noise(10).save(path)
    assert read_image(path, max_pixels=100).shape == (10, 10, 3)
    with pytest.raises(UserError, match="10 x 10 pixels"):
        read_image(path, max_pixels=99)


def test_a_cap_above_pillow_s_own_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    path = tmp_path / "image.png"
    noise(10).save(path)
    assert read_image(path, max_pixels=100).shape == (10, 10, 3)
    assert Image.MAX_IMAGE_PIXELS == 10
    with pytest.raises(UserError, match="more than the limit of 99"):
        read_image(path, max_pixels=99)


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"hevc"])
def test_a_heic_picture_is_called_by_its_name(tmp_path: Path, brand: bytes) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(40))
    for read in (read_image, image_size):
        with pytest.raises(
            UserError, match=r"IMG_0001\.HEIC is a HEIC picture: convert it to JPEG"
        ):
            read(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_a_tag_says_whether_an_image_lies_on_its_side(
    tmp_path: Path, orientation: int, ending: str
) -> None:
    path = tmp_path / f"image.{ending}"
    Image.fromarray(PIXELS).save(path)
    assert not is_turned(path)
    Image.fromarray(PIXELS).save(path, exif=with_orientation(orientation))
    assert is_turned(path) == (orientation >= 5)


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    bombs = [bomb(tmp_path / f"{side}.png", side) for side in (13_000, 25_000)]
    script = """
import resource, sys
from pathlib import Path
from fcos_lightning.data.images import read_image
from fcos_lightning.errors import UserError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[1:]:
    try:
        read_image(Path(name))
    except UserError as error:
        print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, bombs)], capture_output=True, text=True, check=True
    )
    first, second, grown_kib = done.stdout.splitlines()
    assert "13000.png" in first and "25000.png" in second
    assert done.stderr == ""
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(grown_kib) * unit < 50e6


def test_pillow_still_refuses_truncated_files() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    for read in (read_image, image_size, image_header):
        with pytest.raises(UserError, match="is no file, but a pipe or a device"):
            read(tmp_path / "a.jpg")
    store = LooseFiles(tmp_path, np.array(["a.jpg", "a.jpg"]))
    with pytest.raises(UserError, match="is no file, but a pipe or a device"):
        store.read(0)
    assert store.duplicates() == []

"""Bodies of requests that are no image, or one that does harm where it is decoded."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image

from fcos_lightning.data.images import StoredImage, read_image
from fcos_lightning.errors import UserError

_KINDS = ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "JPEG2000", "AVIF", "PPM", "TGA")
_FORM = "multipart/form-data; boundary=edge"
#: More than the server that is tried takes.
PIXELS = 2_000_000


@dataclass(frozen=True)
class Body:
    """One body.

    Attributes:
        what: kind of harm.
        content: to be sent.
        content_type: that it is sent with.
    """

    what: str
    content: bytes
    content_type: str = "application/octet-stream"


def bodies(count: int, seed: int) -> Iterator[Body]:
    """Give bodies none of which is an image that can be read; those made by hand come first."""
    rng = random.Random(seed)
    given = 0
    for one in by_hand():
        if given == count:
            return
        given += 1
        yield one
    images = _images()
    while given < count:
        body = _mutated(rng, *rng.choice(images)) if rng.random() < 0.7 else _form(rng, images)
        if body is not None:
            given += 1
            yield body


def by_hand() -> Iterator[Body]:
    """Give what promises much, what other programs would run, and what is none of ours."""
    for width, height in ((2001, 1000), (65_535, 65_535), (2**31 - 1, 2**31 - 1), (10**8, 1)):
        yield Body("a PNG of many pixels", png_head(width, height))
        yield Body("a BMP of many pixels", bmp_head(width, height))
        yield Body("a PPM of many pixels", f"P6 {width} {height} 255\n".encode() + b"\0" * 50)
        if max(width, height) < 65_536:
            yield Body("a GIF of many pixels", b"GIF89a" + struct.pack("<HH", width, height))
    out = io.BytesIO()
    Image.new("L", (5_000, 5_000)).save(out, "PNG")
    yield Body("a bomb of few bytes", out.getvalue())
    out = io.BytesIO()
    Image.new("1", (8_000, 8_000)).save(out, "TIFF", compression="group4")
    yield Body("a bomb of few bytes", out.getvalue())
    text = b"tEXt" + b"a\0" + b"x" * 10
    chunk = struct.pack(">I", 2**31 - 1) + text
    yield Body("a chunk that is longer than the file", b"\x89PNG\r\n\x1a\n" + chunk)
    yield Body("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(ls) system\n")
    yield Body("SVG", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    yield Body("XML with entities", b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>&b;")
    yield Body("HEIC", b"\0\0\0\x18ftypheic" + b"\0" * 60)
    yield Body("a pickle", b"cos\nsystem\n(S'touch hostile'\ntR.")
    yield Body("an archive", b"PK\x03\x04" + b"\0" * 60)
    yield Body("a film", b"\0\0\0\x18ftypisom" + b"\0" * 60)
    yield Body("nothing", b"")
    yield Body("a path", b"../../../../etc/passwd")
    yield Body("terminal codes", b"\x1b]0;x\x07\x1b[2J" * 20)
    yield Body("a list of addresses", b'{"urls": ["http://127.0.0.1/"]}', "application/json")
    yield Body("deep JSON", b"[" * 100_000, "application/json")
    yield Body("too many bytes", b"x" * 3_000_000)


def png_head(width: int, height: int) -> bytes:
    """Return a PNG whose header promises a size, and that holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    little = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + head + little + chunk(b"IEND", b"")


def bmp_head(width: int, height: int) -> bytes:
    """Return a BMP of that kind."""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info + b"\0" * 20


def _images() -> list[tuple[str, bytes]]:
    made = []
    for kind in _KINDS:
        for height in (7, 60):
            out = io.BytesIO()
            picture = Image.effect_mandelbrot((height + 11, height), (-2, -1, 1, 1), 30)
            options: dict[str, Any] = {}
            if kind == "TIFF":
                options["compression"] = "tiff_lzw"
            picture.convert("RGB").save(out, kind, **options)
            made.append((kind, out.getvalue()))
    return made


def _mutated(rng: random.Random, kind: str, content: bytes) -> Body | None:
    """Return an image that is damaged so that it cannot be read; None if it still can be."""
    damaged = bytearray(content)
    what = rng.choice(("cut", "changed", "both", "numbers", "swapped"))
    if what in ("changed", "both"):
        for _ in range(rng.choice((1, 4, 40))):
            damaged[rng.randrange(min(len(damaged), 200))] = rng.randrange(256)
    if what == "numbers":
        at = rng.randrange(max(1, min(len(damaged), 200) - 4))
        damaged[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 2**16, 2**31 - 1, 2**32 - 1)))
    if what == "swapped":
        half = len(damaged) // 2
        damaged = damaged[half:] + damaged[:half]
    if what in ("cut", "both"):
        del damaged[rng.randrange(len(damaged)) :]
    try:
        read_image(StoredImage("body", bytes(damaged)), PIXELS, upright=True)
    except UserError:
        return Body(f"{kind}, {what}", bytes(damaged))
    return None


def _form(rng: random.Random, images: list[tuple[str, bytes]]) -> Body:
    """Return a form with something wrong in it."""
    _, content = rng.choice(images)
    head = b'--edge\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    end = b"\r\n--edge--\r\n"
    field = b'--edge\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n'
    whole = head + content + end
    long = b"X: " + b"y" * rng.choice((5000, 100_000))
    coded = head.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
    choices = {
        "cut": whole[: -rng.randrange(5, len(whole))],
        "twice": head + content + b"\r\n" + whole,
        "a field": field * rng.choice((1, 1000)) + whole,
        "no head": b"--edge\r\n\r\n" + content + end,
        "long head": b"--edge\r\n" + long + b"\r\n\r\n" + end,
        "another edge": whole.replace(b"--edge", b"--ledge"),
        "base64": coded + whole,
        "empty": head + end,
    }
    what = rng.choice([*choices])
    if rng.random() < 0.1:
        return Body("form, no boundary", whole, rng.choice(("multipart/form-data", "multipart/x")))
    return Body(f"form, {what}", choices[what], _FORM)

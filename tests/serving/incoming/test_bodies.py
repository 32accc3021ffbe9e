"""Bodies that are too long, too slow, too many, or no form; and images that are none."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from PIL import Image
from tests.serving.talking import FakePredictor, asked, png, posted, service_of, talk

from fcos_lightning.serving.incoming.bodies import image_of_form


async def chunks(content: bytes, size: int, pause_s: float = 0.0) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]
        await asyncio.sleep(pause_s)


def test_a_body_that_is_said_to_be_too_long_is_not_read() -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"x"

    for length in ("101", "9" * 20, "9" * 5000):
        answer = posted(service_of(limits={"max_bytes": 100}), body(), content_length=length)
        assert answer.status_code == 413 and "100 bytes" in answer.json()["error"] and read == 0


def test_a_body_that_becomes_too_long_is_cut() -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b"x" * 10

    answer = posted(service_of(limits={"max_bytes": 100}), body())
    assert answer.status_code == 413 and sent < 20


def test_one_byte_less_is_taken() -> None:
    content = png()
    for most, status in ((len(content), 200), (len(content) - 1, 413)):
        assert posted(service_of(limits={"max_bytes": most}), content).status_code == status


def test_a_body_that_drips_is_cut() -> None:
    service = service_of(limits={"timeout_s": 0.3})
    answer = posted(service, chunks(b"x" * 1000, 1, 0.02))
    assert answer.status_code == 408 and "0.3 s" in answer.json()["error"]


def test_bodies_that_drip_leave_room_for_others() -> None:
    """They hold what they have sent, and no place in the line."""
    service = service_of(limits={"timeout_s": 2.0, "queue": 2})

    async def conversation(client: httpx.AsyncClient) -> list[int]:
        slow = [
            asyncio.create_task(client.post("/detect", content=chunks(b"x" * 1000, 1, 0.1)))
            for _ in range(20)
        ]
        await asyncio.sleep(0.3)
        quick = (await client.post("/detect", content=png())).status_code
        return [quick, *[(await one).status_code for one in slow]]

    assert talk(service, conversation) == [200, *[408] * 20]


def test_all_bodies_together_are_bounded() -> None:
    service = service_of(limits={"max_bytes": 1000, "timeout_s": 1.0, "queue": 64})

    async def conversation(client: httpx.AsyncClient) -> list[int]:
        async def one() -> int:
            async def body() -> AsyncIterator[bytes]:
                yield b"x" * 900
                await asyncio.sleep(5)

            return (await client.post("/detect", content=body())).status_code

        statuses = await asyncio.gather(*(one() for _ in range(20)))
        return [*statuses, (await client.post("/detect", content=png())).status_code]

    *statuses, after = talk(service, conversation)
    assert statuses.count(408) == 8 and statuses.count(429) == 12 and after == 200
    assert service._bodies.held == 0


def test_a_compressed_body_is_refused() -> None:
    """A bound on what comes in is no bound on what it becomes."""
    answer = posted(service_of(), zlib.compress(png()), content_encoding="deflate")
    assert answer.status_code == 415 and "Content-Encoding" in answer.json()["error"]


def png_of_size(width: int, height: int) -> bytes:
    """A header that promises much, and a little behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(101, 100), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_an_image_of_too_many_pixels_is_refused_by_its_header(size: tuple[int, int]) -> None:
    predictor = FakePredictor()
    answer = posted(service_of(predictor, {"max_pixels": 10_000}), png_of_size(*size))
    assert answer.status_code == 413, answer.text
    assert f"{size[0]} x {size[1]}" in answer.json()["error"] and predictor.batches == []


def test_as_many_pixels_as_are_allowed_are_taken() -> None:
    assert posted(service_of(limits={"max_pixels": 10_000}), png(100, 100)).status_code == 200
    assert posted(service_of(limits={"max_pixels": 9_999}), png(100, 100)).status_code == 413


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image",
        png()[:40],
        b"\xff\xd8\xff\xe0" + b"\0" * 50,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"II*\0" + b"\xff" * 40,
        b"\0\0\0\x18ftypheic" + b"\0" * 40,
        png_of_size(0, 0),
        png_of_size(10, 10),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(content: bytes) -> None:
    predictor = FakePredictor()
    answer = posted(service_of(predictor), content)
    assert answer.status_code == 422 and set(answer.json()) == {"error"}
    assert answer.json()["error"].isprintable() and predictor.batches == []


def form(*parts: tuple[str, bytes], boundary: str = "edge") -> bytes:
    body = b""
    for head, content in parts:
        body += f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode()
        body += content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


FILE = 'name="image"; filename="a.png"'
FORM = "multipart/form-data; boundary=edge"


def test_the_file_of_a_form_comes_out_as_it_went_in() -> None:
    content = bytes(range(256)) * 20_000 + b"\r\n--edg"  # longer than forms are held in memory
    assert image_of_form(FORM, form((FILE, content))) == content


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        (FORM, form(), 422),
        (FORM, form((FILE, png()), (FILE, png())), 422),
        (FORM, form(('name="score_threshold"', b"0.5"), (FILE, png())), 422),
        (FORM, form(('name="image"', png())), 422),
        (FORM, form((FILE, b"")), 422),
        (FORM, form((FILE, png()))[:-30], 422),
        (FORM, b"", 422),
        (FORM, form(("filename=x", png())), 400),
        (FORM, b"no form at all", 400),
        ("multipart/form-data", form((FILE, png())), 400),
        ("multipart/form-data; boundary=", form((FILE, png())), 400),
        (f"multipart/form-data; boundary={'b' * 300}", b"--", 400),
        ("multipart/mixed; boundary=edge", form((FILE, png())), 200),
        (FORM, b"--edge\r\n" + b"X: y\r\n" * 5000, 400),
        (FORM, b"--edge\r\nContent-Disposition: " + b"x" * 100_000, 400),
        (FORM, form(*[('name="a"', b"b")] * 20_000), 422),
    ],
)
def test_a_form_is_an_image_or_is_refused(content_type: str, body: bytes, status: int) -> None:
    answer = posted(service_of(), body, content_type=content_type)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert set(answer.json()) == {"error"} and answer.json()["error"].isprintable()


def test_a_list_of_addresses_is_off_by_default() -> None:
    answer = asked(service_of(), "POST", "/detect", json={"urls": ["http://127.0.0.1/"]})
    assert answer.status_code == 415 and "urls=false" in answer.json()["error"]


def mutated(seed: int) -> Iterator[bytes]:
    import random

    rng = random.Random(seed)
    out = io.BytesIO()
    kinds = ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "JPEG2000", "AVIF")
    for kind in kinds:
        out = io.BytesIO()
        Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 20).convert("RGB").save(out, kind)
        content = bytearray(out.getvalue())
        for _ in range(5):
            one = bytearray(content)
            for _ in range(rng.choice((1, 3, 30))):
                one[rng.randrange(len(one))] = rng.randrange(256)
            yield bytes(one[: rng.choice((len(one), rng.randrange(1, len(one))))])


def test_damaged_images_are_answered_or_refused() -> None:
    """The many are those of ``scripts/hostile_bodies.py``."""
    service = service_of()

    async def conversation(client: httpx.AsyncClient) -> set[int]:
        return {(await client.post("/detect", content=one)).status_code for one in mutated(0)}

    assert talk(service, conversation) <= {200, 413, 422}

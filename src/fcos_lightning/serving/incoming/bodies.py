"""What clients send, read within bounds: of bytes, of time, and of both over all clients."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from python_multipart import FormParser
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from fcos_lightning.serving.answers import Refused
from fcos_lightning.serving.limits import Limits

_ONE = "send one part, the image, as curl -F image=@photo.jpg"


class Gone(Exception):
    """The client has closed its connection; nobody waits for an answer."""


class Bodies:
    """Reads bodies into memory, whose sum is bounded.

    Attributes:
        held: bytes that are held now.

    Args:
        limits: ``max_bytes`` and ``timeout_s`` count here.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held = 0

    @asynccontextmanager
    async def of(self, request: Request) -> AsyncIterator[bytes]:
        """Hold the body of a request.

        Raises:
            Refused: if it is too long (413), too slow (408), compressed (415), or all bodies
                together are too long (429).
            Gone: if the client is.
        """
        self._check_head(request)
        body = bytearray()
        try:
            try:
                await asyncio.wait_for(self._read(request, body), self._limits.timeout_s)
            except asyncio.TimeoutError:
                raise Refused(
                    408, f"the body took longer than {self._limits.timeout_s:g} s; send it faster"
                ) from None
            except ClientDisconnect:
                raise Gone from None
            yield bytes(body)
        finally:
            self.held -= len(body)

    def _check_head(self, request: Request) -> None:
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(415, "the body is compressed; send it as it is, without Content-Encoding")
        length = request.headers.get("content-length", "0")
        # Digits are counted first: Python makes no number of thousands of them.
        if length.isdecimal() and (len(length) > 20 or int(length) > self._limits.max_bytes):
            raise self._too_long()

    async def _read(self, request: Request, body: bytearray) -> None:
        async for chunk in request.stream():
            if len(body) + len(chunk) > self._limits.max_bytes:
                raise self._too_long()
            if self.held + len(chunk) > self._limits.held_bytes:
                raise Refused(429, "all that clients send together is too much; try again", 1)
            body += chunk
            self.held += len(chunk)

    def _too_long(self) -> Refused:
        return Refused(413, f"the body is longer than {self._limits.max_bytes} bytes")


def image_of_form(content_type: str, body: bytes) -> bytes:
    """Return the one file of a form; takes time in proportion to the form, so call it in a thread.

    Args:
        content_type: with the boundary.
        body: of ``multipart/form-data``.

    Raises:
        Refused: if it is no form, or has not one file in it.
    """
    files: list[bytes] = []

    def on_file(file: Any) -> None:  # noqa: ANN401  # typed as a protocol there
        if files:
            raise Refused(422, f"the form has several files; {_ONE}")
        file.file_object.seek(0)
        files.append(file.file_object.read())

    def on_field(field: Any) -> None:  # noqa: ANN401  # likewise
        raise Refused(422, f"the form has a part that is no file; {_ONE}")

    _, options = parse_options_header(content_type)
    parser = None
    try:
        parser = FormParser(
            "multipart/form-data",
            on_field,
            on_file,
            boundary=options.get(b"boundary"),
            config={"MAX_MEMORY_FILE_SIZE": len(body) + 1},
        )
        parser.write(body)
        parser.finalize()
    except Refused:
        raise
    except Exception as error:  # its own kinds, and assertions where parts come out of order
        raise Refused(400, f"the form cannot be read: {error or type(error).__name__}") from None
    finally:
        if parser is not None:
            with contextlib.suppress(Exception):  # of a form that ended amidst a part
                parser.close()
    if not files:
        raise Refused(422, f"the form has no file, or ends amidst it; {_ONE}")
    return files[0]

"""A server in this process, detectors that do as they are told, and clients that talk to it."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fcos_lightning.inference.prepared import Prepared
from fcos_lightning.serving.application import Served, Service
from fcos_lightning.serving.limits import Limits
from fcos_lightning.serving.server import bound_socket, uvicorn_of
from fcos_lightning.structures import Detections

T = TypeVar("T")


def png(height: int = 8, width: int = 8, value: int = 100, **options: Any) -> bytes:
    """A picture of one colour, which is its number, too."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), (value, value, value)).save(out, "PNG", **options)
    return out.getvalue()


class FakePredictor:
    """Finds one box, whose score is the picture's colour; waits and fails as told.

    Attributes:
        batches: colours of the pictures of each batch, in their order.
    """

    def __init__(self, failing: Callable[[list[int]], BaseException | None] | None = None) -> None:
        self.batches: list[list[int]] = []
        self.began = threading.Semaphore(0)
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self._failing = failing

    def prepared(self, image: NDArray[np.uint8]) -> Prepared:
        return Prepared(torch.from_numpy(image.transpose(2, 0, 1).copy()), image.shape[:2])

    def padded_hw(self, image: Prepared) -> tuple[int, int]:
        height, width = image.planes.shape[1:]
        return height, width

    def detected(self, images: Sequence[Prepared]) -> list[Detections]:
        colours = [int(image.planes[0, 0, 0]) for image in images]
        self.batches.append(colours)
        self.began.release()
        assert self.may_go_on.wait(20)
        error = self._failing(colours) if self._failing else None
        if error is not None:
            raise error
        box = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        return [
            Detections(box, torch.tensor([colour / 255]), torch.tensor([0]), ("thing",))
            for colour in colours
        ]


def service_of(predictor: Any = None, limits: dict[str, Any] | None = None, **more: Any) -> Service:
    few: dict[str, Any] = {"batch_size": 1, "delay_ms": 0, "threads": 1, **(limits or {})}
    given = {"score_threshold": 0.0, **more}
    return Service(Served(predictor or FakePredictor(), "a.ckpt", limits=Limits(**few), **given))


def alone(work: Coroutine[Any, Any, T]) -> T:
    """Run in a thread of its own: in this one Playwright may have left an event loop running."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def talk(service: Service, conversation: Callable[[httpx.AsyncClient], Awaitable[T]]) -> T:
    """Run the server for as long as somebody talks to it."""

    async def run() -> T:
        transport = httpx.ASGITransport(service.app, raise_app_exceptions=False)
        async with (
            service.running(),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            return await conversation(client)

    return alone(run())


def asked(service: Service, method: str, url: str, **how: Any) -> httpx.Response:
    """The answer to one request."""
    return talk(service, lambda client: client.request(method, url, **how))


def posted(service: Service, content: Any, url: str = "/detect", **headers: str) -> httpx.Response:
    """The answer to one body."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return asked(service, "POST", url, content=content, headers=sent)


@contextmanager
def served(service: Service, timeout_s: float) -> Iterator[int]:
    """A server in a thread, at a port."""
    listener = bound_socket("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = uvicorn_of(service, timeout_s)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()

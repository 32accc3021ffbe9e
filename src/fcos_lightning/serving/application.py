"""The application: what is answered at which address."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Depends, FastAPI, Query
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import ASGIApp

from fcos_lightning import __version__
from fcos_lightning.inference.prepared import Prepared
from fcos_lightning.serving.access import Access
from fcos_lightning.serving.answers import (
    Addresses,
    Asked,
    AtAddress,
    Detected,
    Listed,
    Problem,
    Refused,
)
from fcos_lightning.serving.counters import Counters
from fcos_lightning.serving.guard import Guard
from fcos_lightning.serving.incoming.bodies import Bodies, Gone, image_of_form
from fcos_lightning.serving.incoming.fetching import Fetcher
from fcos_lightning.serving.incoming.uploads import Prepares, prepared_upload
from fcos_lightning.serving.limits import Limits
from fcos_lightning.serving.page_routes import page_routes
from fcos_lightning.serving.problems import PROBLEMS, answer_problems, first_of
from fcos_lightning.serving.waiting_line import Detects, WaitingLine

_Result = TypeVar("_Result")
_BINARY = {"schema": {"type": "string", "format": "binary"}}
#: Addresses that are fetched from at a time; each may bring as much as a body.
_FETCHES = 4
_DECODERS = "uploads"


class Predicts(Detects, Prepares, Protocol):
    """What of a ``Predictor`` is needed here; its own score threshold should be 0."""


@dataclass(frozen=True)
class Served:
    """What is served, and to whom.

    Attributes:
        predictor: finds objects.
        model: its name, for answers.
        score_threshold: of requests that say none.
        limits: see there.
        access: see there.
        urls: whether a list of addresses may be sent.
        private_urls: whether they may lead to networks that are not public.
        s_per_image: that the predictor takes, as far as it is known.
    """

    predictor: Predicts
    model: str
    score_threshold: float = 0.3
    limits: Limits = field(default_factory=Limits)
    access: Access = field(default_factory=lambda: Access("127.0.0.1"))
    urls: bool = False
    private_urls: bool = False
    s_per_image: float = 0.0


class Service:
    """A detector, its line, and the addresses that lead to it.

    Attributes:
        app: the ASGI application; its lifespan starts and ends the detector's thread.
        line: of images.
        stopping: no more requests are taken on.
        counters: figures.

    Args:
        served: what is served.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._limits = served.limits
        self.counters = Counters()
        self.line = WaitingLine(served.predictor, served.limits, self.counters, served.s_per_image)
        self.stopping = False
        self._bodies = Bodies(served.limits)
        self._fetcher = Fetcher(served.limits, served.private_urls)
        self._fetches = asyncio.Semaphore(_FETCHES)
        self._pool = ThreadPoolExecutor(served.limits.decoders, thread_name_prefix=_DECODERS)
        self.counters.watch("fcos_waiting_images", "Images taken on", lambda: self.line.taken)
        self.counters.watch("fcos_held_bytes", "Of bodies", lambda: self._bodies.held)
        api = self._api()
        routes = frozenset(str(getattr(route, "path", "")) for route in api.routes)
        self.app: ASGIApp = Guard(api, served.access, self.counters, routes)

    def _api(self) -> FastAPI:
        locked = [Depends(HTTPBearer(auto_error=False))] if self._served.access.token else []
        api = FastAPI(
            title="fcos-serve",
            summary="Finds objects in images.",
            version=__version__,
            docs_url=None,  # these pages load scripts from elsewhere
            redoc_url=None,
            lifespan=lambda _: self.running(),
        )
        answer_problems(api)
        problems: dict[int | str, dict[str, Any]] = {
            status: {"model": Problem, "description": told} for status, told in PROBLEMS.items()
        }
        if locked:
            problems[401] = {"model": Problem, "description": "The token is missing or wrong."}
        api.post(
            "/detect",
            summary="Find objects in an image",
            response_model=Detected | Listed if self._served.urls else Detected,
            responses=problems,
            dependencies=locked,
            openapi_extra={"requestBody": self._body_kinds()},
        )(self.detect)
        plain = {"content": {"text/plain": {"schema": {"type": "string"}}}}
        api.get(
            "/healthz",
            summary="Whether images are taken on",
            response_model=dict[str, str],
            responses={400: problems[400], 503: problems[503]},
        )(self.health)
        api.get(
            "/metrics",
            summary="Figures for Prometheus",
            response_class=Response,
            responses={200: plain, **{k: problems[k] for k in (400, 401) if k in problems}},
            dependencies=locked,
        )(self.metrics)
        page_routes(
            api,
            model=self._served.model,
            token=bool(locked),
            least=self._served.score_threshold,
            max_bytes=self._limits.max_bytes,
        )
        return api

    def _body_kinds(self) -> dict[str, Any]:
        form = {
            "schema": {
                "type": "object",
                "properties": {"image": _BINARY["schema"]},
                "required": ["image"],
                "additionalProperties": False,
            }
        }
        kinds: dict[str, Any] = {
            "application/octet-stream": _BINARY,
            "image/*": _BINARY,
            "multipart/form-data": form,
        }
        if self._served.urls:
            kinds["application/json"] = {"schema": Addresses.model_json_schema()}
        return {"required": True, "content": kinds}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look at images for as long as it is entered, which it can be once."""
        async with AsyncExitStack() as stack:
            if self._served.urls:
                await stack.enter_async_context(self._fetcher)
            self.line.start()
            try:
                yield
            finally:
                self.stopping = True
                self._pool.shutdown(wait=False, cancel_futures=True)
                self.line.stop()

    def has_ended(self) -> bool:
        """Tell whether no thread of ours is at work any more."""
        names = [thread.name for thread in threading.enumerate()]
        return not self.line.is_working and not any(one.startswith(_DECODERS) for one in names)

    async def detect(
        self, request: Request, asked: Annotated[Asked, Query()]
    ) -> Detected | Listed | Response:
        """Find objects in one image: its bytes as they are, or as the one file of a form."""
        if self.stopping:
            raise Refused(503, "the server stops", 1)
        if len(request.query_params.multi_items()) > 1:
            raise Refused(422, "score_threshold is given more than once")
        content_type = request.headers.get("content-type", "")
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "application/json" and not self._served.urls:
            raise Refused(
                415, "lists of addresses are off (urls=false); send the bytes of an image"
            )
        self.line.check_room()
        least = self._served.score_threshold
        least = least if asked.score_threshold is None else asked.score_threshold
        told: dict[str, Any] = request.scope["state"]["told"]
        async with AsyncExitStack() as held:
            body = await held.enter_async_context(self._bodies.of(request))
            told["bytes"] = len(body)
            if kind == "application/json":
                listed = await self._unless_gone(request, self._listed(body, least), arrivals=1)
                told["images"] = len(listed.images)
                return listed
            held.enter_context(self.line.place())
            form = content_type if kind.startswith("multipart/") else None
            found = await self._unless_gone(request, self._detected(body, least, form))
        told |= {"images": 1, "detections": len(found.scores)}
        return found

    async def _detected(self, body: bytes, least: float, form: str | None = None) -> Detected:
        """Return what is found in an image.

        Args:
            body: of a request, or of what was fetched.
            least: score of what is wanted.
            form: the content type, where the body is a form.
        """
        began = time.monotonic()
        predictor, most = self._served.predictor, self._limits.max_pixels

        def decoded() -> Prepared:
            content = body if form is None else image_of_form(form, body)
            return prepared_upload(content, predictor, most)

        image = await asyncio.get_running_loop().run_in_executor(self._pool, decoded)
        found = (await self.line.detect(image)).above(least)
        return Detected.of(found, image.hw, self._served.model, time.monotonic() - began)

    async def _listed(self, body: bytes, least: float) -> Listed:
        """Return what is found in the images behind addresses; each fails by itself alone."""
        try:
            urls = Addresses.model_validate_json(body).urls
        except ValidationError as error:
            raise Refused(422, f"the list of addresses: {first_of(error.errors())}") from None
        self.line.check_room(len(urls))

        async def one(url: str) -> AtAddress:
            try:
                async with self._fetches:
                    content = await self._fetcher.fetch(url)
                with self.line.place():
                    return AtAddress(url=url, found=await self._detected(content, least))
            except Refused as refused:
                return AtAddress(url=url, error=refused.reason)

        return Listed(images=await asyncio.gather(*map(one, urls)))

    async def _unless_gone(
        self, request: Request, work: Coroutine[Any, Any, _Result], arrivals: int = 0
    ) -> _Result:
        """Wait for work as long as its client does, and no longer than the limit.

        Args:
            request: whose body was read.
            work: is cancelled where nobody wants it any more.
            arrivals: of things that are waited for before, each for as long again.

        Raises:
            Gone: if the client is.
            Refused: with status 503 once the time is up.
        """
        patience_s = (1 + arrivals) * self._limits.timeout_s
        task, gone = asyncio.create_task(work), asyncio.create_task(_gone_from(request))
        try:
            await asyncio.wait(
                {task, gone}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
            )
            if task.done():
                return task.result()
            if gone.done():
                raise Gone
            raise Refused(503, f"no answer within {patience_s:g} s; try again", 1)
        finally:
            for one in (task, gone):
                one.cancel()

    async def health(self) -> dict[str, str]:
        """Tell whether images are taken on."""
        if self.stopping:
            raise Refused(503, "the server stops", 1)
        return {"status": "ready"}

    async def metrics(self) -> Response:
        """Return all figures."""
        return Response(self.counters.text(), media_type="text/plain; version=0.0.4")


async def _gone_from(request: Request) -> None:
    """Return once the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass

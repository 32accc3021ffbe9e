"""The page on which one drops photos; its parts that show boxes are those of ``out=demo/``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, StrictUndefined

_OWN = files("fcos_lightning.serving") / "page"
_PARTS = {
    "style.css": (_OWN, "text/css"),
    "asked.js": (_OWN, "text/javascript"),
    "shown.js": (files("fcos_lightning.inference.deployed") / "page", "text/javascript"),
}


def page_routes(api: FastAPI, model: str, token: bool, least: float, max_bytes: int) -> None:
    """Add the page and its parts.

    Args:
        api: to add them to.
        model: name of the checkpoint's file.
        token: whether the page has to ask for one.
        least: where the slider for scores begins.
        max_bytes: that may be sent.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string((_OWN / "index.html").read_text(encoding="utf-8"))
    page = template.render(model=model, token=token, least=least, max_bytes=max_bytes)

    @api.get("/", summary="A page to drop photos on", response_class=HTMLResponse)
    async def index() -> HTMLResponse:
        return HTMLResponse(page)

    for name, (folder, kind) in _PARTS.items():
        content = (folder / name).read_bytes()
        api.add_api_route(
            f"/page/{name}",
            _sending(content, kind),
            include_in_schema=False,
            response_class=Response,
        )


def _sending(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def part() -> Response:
        return Response(content, media_type=kind)

    return part

"""What happens to every request, around the application: who may ask, headers, log, last resort."""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fcos_lightning.serving.access import Access
from fcos_lightning.serving.answers import Refused
from fcos_lightning.serving.counters import Counters
from fcos_lightning.serving.json_log import LOG, tell

#: Nothing from elsewhere, nothing inline, and no other page around ours.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH")
#: Of a client that has gone, as nginx counts it.
GONE = 499


class Guard:
    """Stands around the application.

    Args:
        app: answers.
        access: says who may ask.
        counters: are told of each request.
        routes: that are counted under their names.
    """

    def __init__(
        self, app: ASGIApp, access: Access, counters: Counters, routes: frozenset[str]
    ) -> None:
        self._app = app
        self._access = access
        self._counters = counters
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0
        told: dict[str, Any] = {}
        scope.setdefault("state", {})["told"] = told

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._access.check(scope["method"], scope["path"], Headers(scope=scope))
            await self._app(scope, receive, watched)
        except Refused as refused:
            await refused.response()(scope, receive, watched)
        except Exception:
            LOG.exception("a request failed")
            if not status:
                failed = Refused(500, "the server failed; its log says why")
                await failed.response()(scope, receive, watched)
        finally:
            took = time.monotonic() - began
            path, method = scope["path"], scope["method"]
            known = path in self._routes
            self._counters.requests.labels(
                path if known else "other", method if method in _METHODS else "other", str(status)
            ).inc()
            self._counters.request_seconds.labels(path if known else "other").observe(took)
            client = scope.get("client")
            tell(
                logging.INFO,
                "request",
                method=method,
                path=path,
                status=status,
                ms=round(took * 1000, 1),
                client=client[0] if client else None,
                **told,
            )

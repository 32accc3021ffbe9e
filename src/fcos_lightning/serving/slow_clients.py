"""Connections that bring nothing: closed after a time, and never more than so many.

uvicorn waits without end for the head of a request, for what is left of a body that nobody reads,
and for clients that do not read. This is the one place that relies on how its protocol keeps its
connection.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Files that a process may open are often 1024.
MOST_CONNECTIONS = 512


def patient_protocol(patience_s: float) -> type[H11Protocol]:
    """Return uvicorn's protocol with bounds.

    Args:
        patience_s: so long a head of a request, the rest of a refused body, or the reading of an
            answer may take.
    """

    class Patient(H11Protocol):
        _timer: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > MOST_CONNECTIONS:
                self._end(429, "too many connections; try again", "Retry-After: 1\r\n")
                return
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            self._read_again()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(patience_s, self.transport.abort)

        def resume_writing(self) -> None:
            self._read_again()
            super().resume_writing()

        def _read_again(self) -> None:
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

        def send_400_response(self, msg: str) -> None:
            self._end(400, "this is no HTTP request")

        def _is_waited_for(self) -> bool:
            """Tell whether the client has to send something before anything can go on."""
            answered = self.cycle is None or self.cycle.response_complete
            return answered and not self.transport.is_closing()

        def _watch(self) -> None:
            if not self._is_waited_for():
                self._unwatch()
            elif self._timer is None:
                self._timer = self.loop.call_later(patience_s, self._too_late)

        def _unwatch(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _too_late(self) -> None:
            self._timer = None
            if self._is_waited_for():
                self._end(408, f"the request took longer than {patience_s:g} s; send it faster")

        def _end(self, status: int, told: str, more: str = "") -> None:
            """Close the connection; with an answer, where none was given to what is sent."""
            answering = self.cycle is not None and self.cycle.response_started
            between = self.conn.our_state is h11.IDLE
            if between or (self.conn.our_state is h11.SEND_RESPONSE and not answering):
                body = json.dumps({"error": told})
                head = f"HTTP/1.1 {status} {_WORDS[status]}\r\nContent-Type: application/json\r\n"
                rest = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
                self.transport.write(f"{head}{more}{rest}".encode("ascii"))
            self.transport.close()

    return Patient


_WORDS: dict[int, Any] = {400: "Bad Request", 408: "Request Timeout", 429: "Too Many Requests"}

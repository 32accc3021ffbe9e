"""A server from its socket to its end: bound early, stopped gracefully, and never left hanging."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

import uvicorn

from fcos_lightning.errors import UserError
from fcos_lightning.serving.application import Service
from fcos_lightning.serving.json_log import JsonLog, tell
from fcos_lightning.serving.slow_clients import patient_protocol
from fcos_lightning.signals import Asked

#: A connection without requests is closed after so long.
_KEEP_ALIVE_S = 15
#: So long answers that are ready may take to be sent.
_SENDING_S = 5
#: So long threads may take to end that have nothing more to do.
_ENDING_S = 2.0


def bound_socket(host: str, port: int) -> socket.socket:
    """Listen; who connects before the server is ready, waits.

    Args:
        host: a name or an address of this machine.
        port: 0 for any that is free.

    Raises:
        UserError: if it is taken, not allowed, or no place of this machine.
    """
    if isinstance(port, bool) or not 0 <= port <= 65535:
        raise UserError(f"port={port}: give 0 to 65535, where 0 is any that is free")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise UserError(f"host={host}: is no place of this machine: {error}") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise UserError(
            f"host={host} port={port}: cannot be listened on: {error.strerror}; give another port="
        ) from None
    return listener


def address_of(listener: socket.socket) -> str:
    """Return where a browser finds a server."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def uvicorn_of(service: Service, timeout_s: float) -> uvicorn.Server:
    """Return the server of an application, which is not started yet.

    Args:
        service: the application.
        timeout_s: that the head of a request may take.
    """
    return uvicorn.Server(
        uvicorn.Config(
            service.app,
            http=patient_protocol(timeout_s),
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_SENDING_S,
        )
    )


def serve(service: Service, listener: socket.socket, timeout_s: float) -> int:
    """Answer until a signal asks to stop; then what was taken on, and nothing more.

    Args:
        service: the application.
        listener: of ``bound_socket``; is closed.
        timeout_s: that what was taken on may still take.

    Returns:
        The signal that asked; 0 if the server ended by itself, which it should not.
    """
    server = uvicorn_of(service, timeout_s)
    # Not the thread's own end: join, when a signal interrupts it, may mark a thread as ended.
    done = threading.Event()

    def run() -> None:
        try:
            server.run([listener])
        finally:
            done.set()

    with JsonLog(sys.stdout, service.counters.lost_lines.inc):
        # In a thread of its own uvicorn leaves signals to us.
        threading.Thread(target=run, name="server", daemon=True).start()
        asked = 0
        try:
            _wait(lambda: server.started or done.is_set(), math.inf)
            if server.started:
                tell(logging.INFO, "ready", address=address_of(listener))
            done.wait()
        except Asked as signalled:
            asked = signalled.signum
        try:
            tell(logging.INFO, "stopping", waiting=service.line.taken)
            service.stopping = True
            _wait(lambda: service.line.taken == 0 or done.is_set(), timeout_s)
            server.should_exit = True
            done.wait(_SENDING_S + 2)
        except Asked:  # again, after a while: now
            pass
        ended = done.is_set() and _wait(service.has_ended, _ENDING_S)
        tell(logging.INFO, "stopped", unanswered=service.line.taken)
    _let_go_of_output()
    if not ended:  # the detector or a decoder is at work, and neither can be interrupted
        sys.stderr.flush()
        os._exit(exit_status(asked))
    return asked


def _let_go_of_output() -> None:
    """Keep Python from failing as it ends where nobody reads the log any more."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def exit_status(signum: int) -> int:
    """Return the status of a process that a signal asked to stop: SIGTERM is how servers end."""
    if signum == signal.SIGTERM:
        return 0
    return 128 + signum if signum else 1


def _wait(until: Callable[[], bool], patience_s: float) -> bool:
    """Wait for something, and tell whether it came."""
    end = time.monotonic() + patience_s
    while not until():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True

"""Who may ask a server: those with its token, at its own name, and no page of another site."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from starlette.datastructures import Headers

from fcos_lightning.errors import UserError
from fcos_lightning.serving.answers import Refused
from fcos_lightning.storage.small_files import read_small

TOKEN_VARIABLE = "FCOS_TOKEN"
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
#: Routes that say nothing about the model, and that programs ask before they have a token.
_OPEN_ROUTES = ("/", "/healthz", "/openapi.json")
_MOST_TOKEN_BYTES = 4096


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a server on a host."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def token_of(
    word: str | None, file: str | None, environment: Mapping[str, str] = os.environ
) -> str | None:
    """Return the token that clients have to send; None: they need not.

    Args:
        word: ``token=``, which everybody on this machine can read.
        file: ``token_file=``, that holds it.
        environment: where it may stand as ``FCOS_TOKEN``.

    Raises:
        UserError: if it is given twice, is empty, or cannot be sent in a header.
    """
    given = {
        "token=": word,
        f"token_file={file}": file,
        TOKEN_VARIABLE: environment.get(TOKEN_VARIABLE),
    }
    named = [name for name, value in given.items() if value is not None]
    if not named:
        return None
    if len(named) > 1:
        raise UserError(f"{named[0]} and {named[1]} both give a token; give one of them")
    token = given[named[0]]
    if file is not None:
        content = read_small(
            Path(os.path.expanduser(file)), _MOST_TOKEN_BYTES, named=f"token_file={file}:"
        )
        token = content.decode("utf-8", "replace").strip()
    if not token or not re.fullmatch(r"[!-~]+", token):
        raise UserError(f"{named[0]}: a token is one word of ASCII letters, digits and signs")
    return token


@dataclass(frozen=True)
class Access:
    """Decides on a request by its head alone.

    Attributes:
        host: that the server is bound to.
        token: that clients send as ``Authorization: Bearer``; None: they need not.
        hosts: names that a request may be addressed to, beside those of this machine.
    """

    host: str
    token: str | None = field(default=None, repr=False)
    hosts: Sequence[str] = ()

    def check(self, method: str, path: str, headers: Headers) -> None:
        """Let a request through.

        Raises:
            Refused: with status 400, 401 or 403.
        """
        self._check_host(headers)
        # A browser says so of pages; they could not read the answer, but would have us work.
        if method == "POST" and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise Refused(403, "a page of another site may not ask this server")
        if self.token is None or path in _OPEN_ROUTES or path.startswith("/page/"):
            return
        kind, _, sent = headers.get("authorization", "").partition(" ")
        fits = hmac.compare_digest(_digest(sent.strip()), _digest(self.token))
        if kind.lower() != "bearer" or not fits:
            raise Refused(401, "send the server's token, as Authorization: Bearer TOKEN")

    def _check_host(self, headers: Headers) -> None:
        """Refuse names that a stranger's DNS gave this machine, so that its page be of our site."""
        if not is_loopback(self.host) and not self.hosts:
            return
        name = _name_of(headers.get("host", ""))
        if name not in {*_LOCAL_NAMES, _name_of(self.host), *map(_name_of, self.hosts)}:
            raise Refused(
                400, "the request is addressed to a host that is not this one; hosts= allows more"
            )


def _digest(text: str) -> bytes:
    """Return what texts of any length are compared by in the same time."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _name_of(host: str) -> str:
    """Return a host without its port, in lower case and without brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]

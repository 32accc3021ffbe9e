"""Images behind addresses: fetched within bounds, and not from networks that a client cannot reach.

Where a connection leads is judged when its socket is made, after the name was looked up. So neither
a name that means this machine, nor one that changes its meaning, nor a redirect gets around it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from types import TracebackType
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp import AddrInfoType

from fcos_lightning.serving.answers import Refused
from fcos_lightning.serving.limits import Limits

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 4
_SCHEMES = ("http", "https")
#: IPv6 addresses that lead on to an IPv4 address written in them.
_LEADING_ON = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16")))


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the open internet.

    Args:
        address: IPv4 or IPv6, perhaps with a zone.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if found.teredo is not None or any(found in network for network in _LEADING_ON):
            return False
    return found.is_global and not found.is_multicast


class _NotPublic(OSError):
    """A connection would lead into a network of its own."""


def _socket_to_public(address: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, place = address
    if not is_public(str(place[0])):
        raise _NotPublic("not public")
    return socket.socket(family, kind, protocol)


class Fetcher:
    """Fetches images by HTTP.

    Args:
        limits: ``max_bytes`` and ``timeout_s`` count here.
        private: addresses that are not public may be asked, too.
    """

    def __init__(self, limits: Limits, private: bool) -> None:
        self._limits = limits
        self._private = private
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Fetcher:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                socket_factory=None if self._private else _socket_to_public,
                force_close=True,
                limit=16,
            ),
            timeout=aiohttp.ClientTimeout(total=self._limits.timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "image/*", "Accept-Encoding": "identity"},
            auto_decompress=False,  # a bound on what comes in is no bound on what it becomes
            trust_env=False,  # no proxy, which would go where it likes
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch(self, url: str) -> bytes:
        """Return what is behind an address.

        Raises:
            Refused: if it is none of HTTP's, not public, too long, too slow or not there.
        """
        try:
            return await asyncio.wait_for(self._followed(url), self._limits.timeout_s)
        except asyncio.TimeoutError:
            raise Refused(
                422, f"the address took longer than {self._limits.timeout_s:g} s"
            ) from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, _NotPublic):
                raise Refused(422, "the address leads to a network that is not public") from None
            raise Refused(422, "the address cannot be reached") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Refused(422, f"the address cannot be read: {type(error).__name__}") from None

    async def _followed(self, url: str) -> bytes:
        assert self._session is not None
        for _ in range(_MOST_REDIRECTS + 1):
            parts = urlsplit(url)
            if parts.scheme.lower() not in _SCHEMES or not parts.hostname:
                raise Refused(422, "an address begins with http:// or https:// and a host")
            if parts.username is not None or parts.password is not None:
                raise Refused(422, "the address holds a user or a password")
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status in _REDIRECTS and (to := answer.headers.get("Location")):
                    url = urljoin(url, to)
                    continue
                if answer.status != 200:
                    raise Refused(422, f"the address answers with status {answer.status}")
                return await self._body(answer)
        raise Refused(422, f"the address leads on more than {_MOST_REDIRECTS} times")

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        most, body = self._limits.max_bytes, bytearray()
        async for chunk in answer.content.iter_chunked(65536):
            body += chunk
            if len(body) > most:
                raise Refused(413, f"what is behind the address is longer than {most} bytes")
        return bytes(body)

"""Addresses of object storage, and what may stand in one."""

from __future__ import annotations

import re

from fcos_lightning.errors import UserError

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)")
#: Here what stands before an @ is the name of a container.
_WITH_CONTAINERS = ("abfs", "abfss", "adl")
_USER = re.compile(r"(://)[^/\s]*@")
_QUERY = re.compile(r"(://[^\s?#'\"]+)[?#][^\s'\"]*")
#: What follows the host in an address without a password.
_PORT = re.compile(r"[^:]*(:\d*)?|\[[^\]]*\](:\d*)?")


def is_address(place: str) -> bool:
    """Tell whether a place is on object storage, not a folder."""
    found = _ADDRESS.match(place)
    return found is not None and found.group(1).lower() != "file"


def checked_address(place: str, key: str) -> str:
    """Return an address that can be written down by anybody, less a slash at its end.

    Args:
        place: the address.
        key: the setting that gives it.

    Raises:
        UserError: if it carries a password or a signature, which is not repeated.
    """
    refuse_secrets(place, key)
    found = _ADDRESS.match(place)
    if "::" in place or found is None or not found.group(2):
        raise UserError(f"{key}={place}: give a plain address, as s3://BUCKET/FOLDER")
    return place.rstrip("/")


def refuse_secrets(text: str, key: str) -> None:
    """Refuse a setting with an address in it that carries a password or a signature.

    Args:
        text: the setting.
        key: its name.

    Raises:
        UserError: which does not repeat it.
    """
    for found in _ADDRESS.finditer(text):
        scheme, host = found.group(1).lower(), found.group(2)
        secret = ("@" in host and scheme not in _WITH_CONTAINERS) or not _PORT.fullmatch(host)
        if scheme != "file" and (secret or "?" in text or "#" in text):
            raise UserError(
                f"{key}={scheme}://...: it holds a user, a password or a signature, and an address "
                "is written into configurations and logs; leave them out, and give them where the "
                f"library for {scheme}:// looks for them, as in environment variables"
            )


def clean(text: str) -> str:
    """Return a text without the passwords and signatures of addresses in it."""
    return _QUERY.sub(r"\1", _USER.sub(r"\1", text))

"""XML of one image to a tree: in any encoding that it names, without what XML can hide."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from fcos_lightning.errors import UserError, shown
from fcos_lightning.storage.small_files import read_small

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_XML_BYTES = 1_000_000
#: Stands where bytes are no text of their encoding.
NO_TEXT = "\ufffd"

_DECLARED = re.compile(rb"<\?xml[^>]*?\sencoding\s*=\s*[\"']([A-Za-z0-9._:-]{1,40})[\"']")
_DECLARATION = re.compile(r"\s*<\?xml\s.*?\?>", re.DOTALL)
# Expat itself knows Unicode and encodings of one byte a character. Each goes to the larger one
# that tools mean by its name.
_WIDE = {
    **dict.fromkeys(("gb2312", "gbk", "gb18030", "cp936", "euc-cn"), "gb18030"),
    **dict.fromkeys(("big5", "big5-hkscs", "cp950"), "big5hkscs"),
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis", "windows-31j", "cp932"), "cp932"),
    **dict.fromkeys(("euc-kr", "ks_c_5601-1987", "cp949", "windows-949"), "cp949"),
    "euc-jp": "euc_jp",
}
_BY_FIRST_BYTES = (
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)


def read_xml(xml_file: Path) -> Element:
    """Read a file whose root is ``annotation``.

    Bytes that are no text become ``NO_TEXT``, which matters only in a text that is used.

    Raises:
        UserError: if it cannot be read, is too large, no such XML, or has a DOCTYPE.
    """
    content = read_small(xml_file, MAX_XML_BYTES, named=f"annotation {xml_file}")
    try:
        with _no_collection():
            annotation = _parse(content)
    except DefusedXmlException:
        raise UserError(
            f"annotation {xml_file} has a DOCTYPE or entities: refused, as it may hide code"
        ) from None
    except (ParseError, ValueError, LookupError) as error:
        raise UserError(f"annotation {xml_file} is not valid XML: {str(error)[:200]}") from None
    if annotation.tag != "annotation":
        raise UserError(f"{xml_file} is no VOC annotation: its root is {shown(annotation.tag)}")
    return annotation


@contextmanager
def _no_collection() -> Iterator[None]:
    """Put off looking for garbage: a growing tree is none, and going through it takes longer."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _parse(content: bytes) -> Element:
    try:
        as_it_is: Element = fromstring(content, forbid_dtd=True)
        return as_it_is
    except DefusedXmlException:
        raise
    except (ParseError, ValueError, LookupError) as error:
        if (text := _decoded(content)) is None:
            raise
        try:
            decoded: Element = fromstring(_DECLARATION.sub("", text, count=1), forbid_dtd=True)
        except ParseError:
            raise error from None
        return decoded


def _decoded(content: bytes) -> str | None:
    """Decode what expat does not; None where it did, or the encoding is unknown."""
    for start, encoding in _BY_FIRST_BYTES:
        if content.startswith(start):
            return content.decode(encoding, "replace")
    unmarked = content.removeprefix(b"\xef\xbb\xbf")
    text = unmarked.lstrip()
    found = _DECLARED.match(text)
    declared = found.group(1).decode().lower() if found else "utf-8"
    # Tools write "utf-16" because their texts are so in memory, and then the file in UTF-8.
    if declared.startswith(("utf-8", "utf8", "utf-16", "utf16", "unicode")):
        decoded = text.decode("utf-8", "replace")
        did = declared == "utf-8" and len(text) == len(unmarked) and NO_TEXT not in decoded
        return None if did else decoded
    return text.decode(_WIDE[declared], "replace") if declared in _WIDE else None

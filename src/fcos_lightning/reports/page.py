"""Pages from templates: one file, nothing loaded from elsewhere, every text escaped.

A page runs the one script that this file puts into it, and no other: its security policy names the
script's hash. A class called ``<script>`` is a name.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fcos_lightning.printing import LONGEST_LINE, grouped, printable


def page(
    template: str, script: str | Sequence[str], data: Mapping[str, Any], **more: object
) -> str:
    """Return a page.

    Args:
        template: its file in ``templates/``.
        script: the JavaScript file there that the page runs, or several in their order.
        data: what the page shows, which the template has as ``data`` and the script as JSON.
        **more: further values for the template.
    """
    environment = Environment(
        loader=PackageLoader("fcos_lightning.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": figure,
        "signed": signed,
        "name": _name,
        "number": grouped,
        "sentence": _sentence,
    }
    loader = environment.loader
    assert loader is not None
    scripts = ["numbers.js", *([script] if isinstance(script, str) else script)]
    code = "\n".join(loader.get_source(environment, one)[0] for one in scripts)
    style = loader.get_source(environment, "style.css")[0]
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode("ascii")
    return environment.get_template(template).render(
        data=data,
        style=Markup(style),
        script=Markup(code),
        script_hash=f"sha256-{digest}",
        json=as_json(data),
        **more,
    )


def as_json(data: Mapping[str, Any]) -> Markup:
    """Return JSON that can stand within a ``script`` element, whatever strings it holds."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def json_text(content: Mapping[str, Any]) -> str:
    """Return JSON for a file beside a page."""
    text = json.dumps(content, allow_nan=False, indent=1, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a file's name that is no UTF-8
        text = json.dumps(content, allow_nan=False, indent=1)
    return f"{text}\n"


def figure(value: float | None, digits: int = 3) -> str:
    """Return a figure as the tables have it: ``0.512``; a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"  # noqa: RUF001  # what tables have in an empty cell
    return f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """Return a difference: ``+0.012``; a dash for none."""
    if value is None or not math.isfinite(value):
        return figure(None)
    text = f"{value:+.{digits}f}"
    return text.replace("-", "\u2212") if float(text) else f"{0:.{digits}f}"


def _name(text: object) -> str:
    """Return a name of a class or file: fit for one line, in its own direction of writing."""
    return printable(text)


def _sentence(text: object) -> str:
    return printable(text, LONGEST_LINE)

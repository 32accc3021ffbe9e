#!/usr/bin/env python
"""Draw the rooms of the package and who imports whom: python scripts/architecture.py.

Writes docs/architecture.svg from the imports in the sources, as `make lint` sees them. An arrow
leads from the importer to what it imports; one that other arrows imply is left out.
"""

from __future__ import annotations

import argparse
import ast
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

import grimp

sys.path.insert(0, str(Path(__file__).resolve().parent))

from drawing.layers import Node, Place, placed
from fcos_lightning.storage.replacing import write_whole

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "fcos_lightning"
#: Handing an object over to a higher room, when asked to; `pyproject.toml` says why.
HANDED_OVER = {("structures", "inference")}

_ROOM, _FILE = (196, 86), (106, 34)  # width and height
_ROW_GAP, _MARGIN = 44, 12
_CHARACTERS = 30  # of a line in a room
_STYLE = """\
  .box { fill: #f6f8fa; stroke: #57606a; }
  .arrow { fill: none; stroke: #57606a; stroke-width: 1.4; }
  .head { fill: #57606a; }
  text { fill: #1f2328; font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
  .name { font-size: 15px; font-weight: 600; }
  .file { font-size: 13px; }
  .says { font-size: 11px; }
  @media (prefers-color-scheme: dark) {
    .box { fill: #161b22; stroke: #8b949e; }
    .arrow { stroke: #8b949e; }
    .head { fill: #8b949e; }
    text { fill: #e6edf3; }
  }
"""


def rooms(source: Path) -> dict[str, str | None]:
    """Return the folders of a package with the first line of what they say, its files with None."""
    found: dict[str, str | None] = {}
    for path in sorted(source.iterdir()):
        if path.is_dir() and (path / "__init__.py").is_file():
            tree = ast.parse((path / "__init__.py").read_text(encoding="utf-8"))
            found[path.name] = (ast.get_docstring(tree) or "").split("\n")[0].rstrip(".")
        elif path.suffix == ".py" and path.name != "__init__.py":
            found[path.stem] = None
    return found


def imports(package: str = PACKAGE) -> set[tuple[str, str]]:
    """Return the pairs of rooms of which the first imports the second, types left out."""
    graph = grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
    pairs = {
        (importer.split(".")[1], imported.split(".")[1])
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
        if "." in importer and "." in imported
    }
    return {(one, other) for one, other in pairs - HANDED_OVER if one != other}


def reached(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Return what each room leads to, along one arrow or several.

    Raises:
        ValueError: if the arrows lead back to a room.
    """
    direct: dict[str, set[str]] = {}
    for one, other in pairs:
        direct.setdefault(one, set()).add(other)
    known: dict[str, set[str]] = {}

    def follow(room: str, way: tuple[str, ...]) -> set[str]:
        if room in way:
            raise ValueError(f"imports go round: {' -> '.join((*way, room))}")
        if room not in known:
            known[room] = set()
            for other in direct.get(room, ()):
                known[room] |= {other} | follow(other, (*way, room))
        return known[room]

    for room in direct:
        follow(room, ())
    return known


def needed(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the arrows that no others imply."""
    behind = reached(pairs)
    return {
        (one, other)
        for one, other in pairs
        if not any(
            other in behind.get(between, ()) for between in behind[one] - {other} if between != one
        )
    }


def rows_of(names: Iterable[str], arrows: set[tuple[str, str]]) -> dict[str, int]:
    """Return each room's row, 0 at the bottom: as low as what it imports allows."""
    rows = dict.fromkeys(sorted(names), 0)
    for _ in rows:
        for one, other in arrows:
            rows[one] = max(rows[one], rows[other] + 1)
    return rows


def picture(said: Mapping[str, str | None], pairs: set[tuple[str, str]]) -> str:
    """Return the picture.

    Args:
        said: the rooms and what they say, see ``rooms``.
        pairs: importers and what they import.
    """
    arrows = needed(pairs)
    rows = rows_of(said, arrows)
    nodes = [Node(name, rows[name], *(_ROOM if said[name] else _FILE)) for name in sorted(said)]
    places, ways = placed(nodes, sorted(arrows), _ROW_GAP, _MARGIN)
    width = max(place.x + place.width / 2 for place in places.values()) + _MARGIN
    height = max(place.y + place.height for place in places.values()) + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img">',
        f"<title>The rooms of {PACKAGE}; an arrow leads from the importer to the imported</title>",
        f"<style>\n{_STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path class="head" d="M0,0.5 L8,4 L0,7.5 z"/></marker>'
        "</defs>",
        *(_arrow(way) for way in ways),
        *(_box(name, said[name], places[name]) for name in sorted(said)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _arrow(way: list[tuple[float, float]]) -> str:
    """A curve through points, upright at each of them."""
    (x, y), *rest = way
    path = f"M{x:.0f},{y:.0f}"
    for to_x, to_y in rest:
        middle = (y + to_y) / 2
        if x == to_x:
            path += f" V{to_y:.0f}"
            y = to_y
            continue
        path += f" C{x:.0f},{middle:.0f} {to_x:.0f},{middle:.0f} {to_x:.0f},{to_y:.0f}"
        x, y = to_x, to_y
    return f'<path class="arrow" d="{path}" marker-end="url(#head)"/>'


def _box(name: str, says: str | None, place: Place) -> str:
    left = place.x - place.width / 2
    corner = f'x="{left:.0f}" y="{place.y:.0f}" width="{place.width}" height="{place.height}"'
    parts = [f'<g><rect class="box" {corner} rx="6"/>']
    if says is None:
        parts.append(_text("file", place.x, place.y + place.height / 2 + 5, f"{name}.py"))
        return "".join(parts) + "</g>"
    lines = textwrap.wrap(says, _CHARACTERS)
    top = place.y + (place.height - 14 * len(lines)) / 2
    parts.append(_text("name", place.x, top + 2, name))
    for number, line in enumerate(lines, start=1):
        parts.append(_text("says", place.x, top + 4 + 14 * number, line))
    return "".join(parts) + "</g>"


def _text(kind: str, x: float, y: float, words: str) -> str:
    place = f'x="{x:.0f}" y="{y:.0f}" text-anchor="middle"'
    return f'<text class="{kind}" {place}>{escape(words)}</text>'


def main() -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "architecture.svg")
    given = parser.parse_args()
    write_whole(picture(rooms(ROOT / "src" / PACKAGE), imports()), given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

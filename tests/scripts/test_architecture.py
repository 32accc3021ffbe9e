"""The picture of the rooms: what it shows is what the sources import."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import architecture  # noqa: E402
from drawing.layers import Node, placed  # noqa: E402

PAIRS = {("top", "left"), ("top", "right"), ("left", "end"), ("right", "end"), ("top", "end")}


def test_the_committed_picture_is_that_of_the_sources(tmp_path: Path) -> None:
    drawn = architecture.picture(
        architecture.rooms(ROOT / "src/fcos_lightning"), architecture.imports()
    )
    kept = (ROOT / "docs/architecture.svg").read_text(encoding="utf-8")
    assert drawn == kept, "python scripts/architecture.py draws it anew"


def test_the_arrows_that_are_left_out_are_implied() -> None:
    pairs = architecture.imports()
    arrows = architecture.needed(pairs)
    assert arrows < pairs
    assert architecture.reached(arrows) == architecture.reached(pairs)
    for arrow in arrows:  # and none could be spared
        assert architecture.reached(arrows - {arrow}) != architecture.reached(pairs)


def test_a_way_round_leaves_an_arrow_out() -> None:
    assert architecture.needed(PAIRS) == PAIRS - {("top", "end")}


def test_imports_that_go_round_are_refused() -> None:
    with pytest.raises(ValueError, match=r"imports go round: \w+ -> \w+ -> \w+"):
        architecture.reached({("a", "b"), ("b", "a")})


def test_boxes_do_not_meet_and_arrows_lead_down_past_them() -> None:
    said, pairs = architecture.rooms(ROOT / "src/fcos_lightning"), architecture.imports()
    arrows = architecture.needed(pairs)
    rows = architecture.rows_of(said, arrows)
    assert all(rows[one] > rows[other] for one, other in pairs)
    places, ways = placed([Node(n, rows[n], 100, 50) for n in said], sorted(arrows), 30, 5)
    boxes = [(p.x - p.width / 2, p.y, p.x + p.width / 2, p.y + p.height) for p in places.values()]
    for index, (x1, y1, x2, y2) in enumerate(boxes):
        for a1, b1, a2, b2 in boxes[index + 1 :]:
            assert x2 <= a1 or a2 <= x1 or y2 <= b1 or b2 <= y1
    assert len(ways) == len(arrows)
    for way in ways:
        assert [y for _, y in way] == sorted(y for _, y in way)
        for x, y in way[1:-1]:
            assert not any(x1 < x < x2 and y1 <= y <= y2 for x1, y1, x2, y2 in boxes)


def test_the_picture_is_an_image_for_light_and_dark_pages() -> None:
    picture = architecture.picture({"top": 'of <"all">', "end": None}, {("top", "end")})
    root = ET.fromstring(picture)
    words = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words == ["end.py", "top", 'of <"all">']
    assert "prefers-color-scheme: dark" in picture

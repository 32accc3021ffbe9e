from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcos_lightning.errors import UserError
from fcos_lightning.inference.tiling.windows import Tiles


@given(st.integers(1, 5000), st.integers(32, 700), st.floats(0, 0.5))
def test_tiles_cover_an_image_and_overlap_as_asked(length: int, side: int, overlap: float) -> None:
    pieces = Tiles(side, side, overlap, False).rows(length)
    assert pieces[0][0] == 0 and pieces[-1][1] == length
    if length <= side:
        assert pieces == [(0, length)]
        return
    assert all(last - first == side for first, last in pieces)
    starts = [first for first, _ in pieces]
    assert starts == sorted(set(starts))
    common = [before[1] - after[0] for before, after in pairwise(pieces)]
    assert min(common) >= int(side * overlap) - 1  # evenly spread over whole pixels
    # With one tile less they would overlap less than was asked for.
    fewer = len(pieces) - 1
    assert fewer == 1 or (length - side) / (fewer - 1) > side * (1 - overlap) - 1


def test_what_a_user_asks_for() -> None:
    auto = Tiles.of("auto", 0.25, 800)
    assert (auto.height, auto.width, auto.overlap) == (800, 800, 0.25)
    assert not auto.cut(900, 900, scale=1.0) and auto.cut(900, 900, scale=0.9)
    given = Tiles.of("320x640", 0.0, 800)
    assert (given.height, given.width) == (320, 640)
    assert given.cut(321, 100, scale=2.5) and not given.cut(320, 640, scale=0.5)
    assert given.columns(1280) == [(0, 640), (640, 1280)]


@pytest.mark.parametrize(
    ("words", "overlap", "message"),
    [
        ("640", 0.2, "give auto, or a size in pixels as 640x640"),
        ("640x", 0.2, "tiles=640x"),
        ("31x640", 0.2, "at least 32"),
        ("640x20000", 0.2, "at most 10000"),
        ("auto", 0.6, "tiles_overlap=0.6: give 0 to 0.5"),
        ("auto", True, "tiles_overlap=True"),
    ],
)
def test_a_wrong_size_is_said(words: str, overlap: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Tiles.of(words, overlap, 800)

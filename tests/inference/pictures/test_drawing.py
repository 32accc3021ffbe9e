from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image

from fcos_lightning.inference.pictures import fonts
from fcos_lightning.inference.pictures.drawing import COLOURS, draw, draw_on, enlargement


def colour(label: int) -> tuple[int, ...]:
    return tuple(bytes.fromhex(COLOURS[label][1:]))


@pytest.fixture
def bare_system(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system without fonts."""
    fonts._font_with.cache_clear()
    monkeypatch.setattr(fonts, "_fonts_of_the_system", lambda: ())
    yield
    fonts._font_with.cache_clear()


def tag(name: str, size: int = 320) -> np.ndarray:
    """What is drawn for one box of a class of this name."""
    picture = Image.new("RGB", (size, size))
    draw_on(picture, torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([0]), (name,))
    return np.asarray(picture)


@pytest.mark.parametrize("best_first", [True, False])
def test_strong_boxes_lie_on_weak_ones(best_first: bool) -> None:
    boxes = torch.tensor([[20.0, 60.0, 80.0, 90.0], [20.0, 60.0, 90.0, 95.0]])
    labels, scores = torch.tensor([1, 0]), torch.tensor([0.9, 0.4])
    if not best_first:
        boxes, labels, scores = boxes.flip(0), labels.flip(0), scores.flip(0)
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)
    drawn = draw(image, boxes, labels, None, scores)
    # The left sides coincide: the better box's colour is seen.
    assert drawn[:, 75, 20].tolist() == list(colour(1))


@pytest.mark.parametrize(
    ("one", "other"), [("Köter", "Koter"), ("собака", "кошка"), ("σκύλος", "γάτα"), ("čaj", "caj")]
)
def test_alphabets_beyond_ascii_are_drawn(one: str, other: str, bare_system: None) -> None:
    text, _ = fonts.legible(one, 12)
    assert text == one  # nothing had to be spelt out
    assert (tag(one) != tag(other)).any()
    # None of the letters is the box that a font has for what it lacks.
    missing = [fonts.legible(sign, 40)[1].getmask(sign) for sign in one]
    lacking = bytes(fonts.legible("a", 40)[1].getmask("\uffff"))
    assert all(bytes(mask) != lacking for mask in missing)


def test_what_no_font_has_is_spelt_out_and_differs(bare_system: None) -> None:
    assert fonts.legible("狗 dog", 12)[0] == "\\u72d7 dog"
    assert fonts.legible("\ud800\n", 12)[0] == "\\ud800\\n"  # also what is no text at all
    assert (tag("狗") != tag("猫")).any()


def test_a_font_of_the_system_is_taken_where_it_has_the_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs = {ord(sign): f"u{ord(sign):x}" for sign in "狗0123456789. "}
    glyphs = {}
    for name in [".notdef", *signs.values()]:
        pen = TTGlyphPen(None)
        for at, *more in [((0, 0), (0, 700), (600, 700), (600, 0))]:
            pen.moveTo(at)
            for point in more:
                pen.lineTo(point)
            pen.closePath()
        glyphs[name] = pen.glyph()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(list(glyphs))
    font.setupCharacterMap(signs)
    font.setupGlyf(glyphs)
    font.setupHorizontalMetrics({name: (700, 0) for name in glyphs})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Test", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(tmp_path / "Test.ttf")
    (tmp_path / "Broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(
        fonts, "_fonts_of_the_system", lambda: (tmp_path / "Broken.ttf", tmp_path / "Test.ttf")
    )
    fonts._font_with.cache_clear()
    try:
        text, found = fonts.legible("狗", 20)
        assert (text, Path(found.path)) == ("狗", tmp_path / "Test.ttf")
        assert fonts.legible("dog", 20)[1].path.endswith("DejaVuSans.ttf")
        assert fonts.legible("狗x", 20)[0] == "\\u72d7x"  # this font has no x
    finally:
        fonts._font_with.cache_clear()


def test_long_names_are_cut() -> None:
    text, _ = fonts.legible("x" * 10_000, 12)
    assert len(text) == 60 and text.endswith("…")
    assert tag("x" * 10_000).any()


@pytest.mark.parametrize("size", [(1, 1), (2, 2000), (2000, 2)])
def test_extreme_pictures_and_boxes(size: tuple[int, int]) -> None:
    far = [[-1e30, -5.0, 1e30, 5.0], [float("nan")] * 4, [float("-inf"), 0, float("inf"), 1]]
    boxes = torch.tensor([*far, [3.0, 3.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    image = torch.zeros(3, *size, dtype=torch.uint8)
    drawn = draw(image, boxes, torch.arange(5), None, torch.linspace(1, 0, 5))
    assert drawn.shape == image.shape and drawn.any()


def test_lines_outside_of_the_picture_are_not_drawn_in_it() -> None:
    picture = Image.new("RGB", (500, 500))
    # Around the whole picture, so that no side of it can be seen.
    draw_on(picture, torch.tensor([[-9e5, -9e5, 9e5, 9e5]]), torch.tensor([0]), ("",))
    assert not np.asarray(picture)[100:, 100:].any()


def test_names_are_left_out_where_boxes_crowd_and_the_best_keep_theirs() -> None:
    rng = np.random.default_rng(0)
    corners = torch.tensor(rng.random((45, 2)) * 250)
    boxes = torch.cat([corners, corners + 60], dim=1)
    labels, scores = torch.zeros(45, dtype=torch.int64), torch.linspace(0.99, 0.3, 45)
    bare, named = (Image.new("RGB", (320, 320), "#808080") for _ in range(2))
    draw_on(bare, boxes, labels, ("",), None, ["#808080"] * 45)
    draw_on(named, boxes, labels, ("a long name",), scores, ["#808080"] * 45)
    written = (np.asarray(bare) != np.asarray(named)).any(axis=2)
    # Without a limit, or names upon each other, this would be more than half.
    assert 0.005 < written.mean() < 0.12
    x, y = (round(float(value)) for value in boxes[0, :2])
    around = written[max(y - 20, 0) : y + 20, max(x - 5, 0) : x + 80]
    assert around.any()


@pytest.mark.parametrize("corner", [(0, 0), (290, 0), (0, 300), (290, 300), (150, 150)])
def test_names_lie_within_the_picture_and_have_a_dark_edge(corner: tuple[int, int]) -> None:
    x, y = corner
    picture = Image.new("RGB", (320, 320), "white")
    draw_on(
        picture,
        torch.tensor([[x, y, x + 29.0, y + 19.0]]),
        torch.tensor([0]),
        ("a name that is long",),
        torch.tensor([0.5]),
        ["#FFFFFF"],
    )
    pixels = np.asarray(picture)
    dark = np.argwhere(pixels.sum(axis=2) < 200)
    # The line around the box is dark too; the name is wider than that.
    low, high = dark.min(axis=0), dark.max(axis=0)
    assert (low >= 0).all() and (high < 320).all() and high[1] - low[1] > 60
    edge = np.concatenate([pixels[:, 0], pixels[:, -1]])
    assert (edge.sum(axis=1) < 200).mean() < 0.1 or x == 0


def test_small_pictures_are_enlarged_and_long_ones_not_beyond_bounds() -> None:
    assert [enlargement(128, 128), enlargement(64, 900), enlargement(640, 480)] == [3, 1, 1]
    assert enlargement(300, 400) == 1 and enlargement(1, 1) == 400 and enlargement(1, 9000) == 1


def test_a_colour_for_each_box() -> None:
    boxes = torch.tensor([[20.0, 20.0, 60.0, 60.0], [100.0, 20.0, 140.0, 60.0]])
    image = torch.full((3, 200, 200), 30, dtype=torch.uint8)
    drawn = draw(image, boxes, torch.tensor([0, 0]), ("",), None, ["#FF0000", "#00FF00"])
    assert drawn[:, 40, 20].tolist() == [255, 0, 0] and drawn[:, 40, 100].tolist() == [0, 255, 0]
    assert drawn[:, 40, 19].tolist() == [0, 0, 0]  # a dark edge

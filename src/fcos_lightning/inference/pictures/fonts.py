"""Letters for pictures: a font that has all characters of a text, or the text made legible."""

from __future__ import annotations

import functools
from pathlib import Path

from PIL import ImageFont

#: A class may be called anything; a name that is longer would cover the picture.
_LONGEST = 60
#: Scores stand behind names, in the same font.
_OF_SCORES = frozenset(map(ord, "0123456789. "))


def legible(text: str, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    r"""Return a text as it can be drawn, and the font to draw it with.

    The font is DejaVu Sans, which matplotlib brings and which has most alphabets. Where it lacks a
    character, as of Chinese, the first font of the system that has all of them takes its place.
    Without one, what is lacking is written as ``\u72d7``, as in predictions.json, rather than as
    boxes that are all alike.

    Args:
        text: to be drawn in one line.
        size: of the font in pixels.
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 1]}…"
    needed = frozenset(map(ord, text)) | _OF_SCORES
    path = _font_with(needed)
    if path is None:
        path, text = _dejavu(), spelt_for_dejavu(text)
    return text, _opened(path, size)


def spelt_for_dejavu(text: str) -> str:
    """Return a text in which what DejaVu Sans lacks is spelt out, for who draws with that alone."""
    there = _characters(_dejavu())
    return "".join(
        sign if ord(sign) in there else sign.encode("unicode_escape").decode() for sign in text
    )


@functools.lru_cache(maxsize=64)
def _font_with(needed: frozenset[int]) -> Path | None:
    """Return the first font that has these characters."""
    if needed <= _characters(_dejavu()):
        return _dejavu()
    return next((path for path in _fonts_of_the_system() if needed <= _characters(path)), None)


@functools.cache
def _dejavu() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


@functools.cache
def _fonts_of_the_system() -> tuple[Path, ...]:
    from matplotlib.font_manager import findSystemFonts

    def plain_first(path: Path) -> tuple[bool, str]:
        words = ("bold", "italic", "oblique", "light", "thin", "black")
        return any(word in path.stem.lower() for word in words), str(path)

    return tuple(sorted(map(Path, findSystemFonts()), key=plain_first))


@functools.cache
def _characters(path: Path) -> frozenset[int]:
    """Return the characters that a font has; none where Pillow cannot draw with it."""
    from matplotlib.ft2font import FT2Font

    try:
        _opened(path, 12)
        return frozenset(FT2Font(str(path)).get_charmap())
    except (OSError, RuntimeError, ValueError):  # damaged, or of a kind such as coloured emoji
        return frozenset()


@functools.lru_cache(maxsize=64)
def _opened(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)

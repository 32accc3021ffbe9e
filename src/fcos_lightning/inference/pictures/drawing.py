"""Boxes and their names on pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor

from fcos_lightning.inference.pictures.fonts import legible
from fcos_lightning.printing import class_label

#: Eight colours that stay apart, also for most of the colour-blind (Okabe and Ito, 2008).
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#FFFFFF")
#: Smaller pictures are enlarged, so that names can be read beside their objects.
LEGIBLE_PX = 400
#: What a longer side is not enlarged beyond: JPEG has an end, and memory too.
_LONGEST_PX = 1400
#: Names may take so much of a picture; where boxes crowd, the weaker ones stay without.
_SHARE_OF_NAMES = 0.12


def enlargement(width: int, height: int) -> int:
    """Return how many times a picture is enlarged, so that names leave its objects to be seen."""
    shorter, longer = min(width, height), max(width, height)
    return max(1, min(LEGIBLE_PX // max(shorter, 1), _LONGEST_PX // max(longer, 1)))


def draw(
    image: Tensor,
    boxes_xyxy: Tensor,
    labels: Tensor,
    class_names: Sequence[str] | None,
    scores: Tensor | None = None,
    colours: Sequence[str] | None = None,
) -> Tensor:
    """Return a copy of an image with boxes drawn and named.

    Args:
        image: ``[3, H, W]`` uint8 RGB.
        boxes_xyxy: ``[K, 4]`` pixels.
        labels: ``[K]``.
        class_names: one per label; None: labels are written as numbers.
        scores: ``[K]`` between 0 and 1, written behind the names; the best lie on top.
        colours: ``K``, one for each box; None: one for each class.
    """
    if len(boxes_xyxy) == 0:
        return image.clone()
    picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    draw_on(picture, boxes_xyxy, labels, class_names, scores, colours)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def draw_on(
    picture: Image.Image,
    boxes_xyxy: Tensor,
    labels: Tensor,
    class_names: Sequence[str] | None,
    scores: Tensor | None = None,
    colours: Sequence[str] | None = None,
    track_ids: Tensor | None = None,
) -> None:
    """Draw boxes and names on a picture of mode RGB; see ``draw``.

    Numbers of objects that are followed, ``[K]``, stand behind the names, but for 0.

    Names stand on no other name and within the picture, or nowhere; those of the best boxes first.
    """
    pen = ImageDraw.Draw(picture)
    shorter = min(picture.size)
    line_px = max(1, round(shorter / 250))
    # What ends outside of the picture is drawn to just outside of it, however far it goes.
    far = torch.tensor(picture.size).double().repeat(2) + 3 * line_px
    boxes = torch.minimum(boxes_xyxy.double(), far).clamp(min=-3 * line_px)
    order = torch.arange(len(boxes)) if scores is None else scores.argsort(descending=True)
    drawable = [
        index
        for index in order.tolist()
        if boxes[index, 2] >= boxes[index, 0] and boxes[index, 3] >= boxes[index, 1]  # no NaN
    ]
    own = [
        COLOURS[int(label) % len(COLOURS)] if colours is None else colours[index]
        for index, label in enumerate(labels.tolist())
    ]
    for index in reversed(drawable):
        x1, y1, x2, y2 = boxes[index].tolist()
        # A dark edge around the line tells it from grounds of its own colour.
        dark = (x1 - line_px, y1 - line_px, x2 + line_px, y2 + line_px)
        pen.rectangle(dark, outline="black", width=line_px)
        pen.rectangle((x1, y1, x2, y2), outline=own[index], width=line_px)
    names = _Names(pen, picture.width, picture.height)
    for index in drawable:
        label = int(labels[index])
        text = class_label(class_names[label]) if class_names else str(label)
        if track_ids is not None and track_ids[index]:
            text += f" #{int(track_ids[index])}"
        score = None if scores is None else float(scores[index])
        x1, y1, x2, y2 = boxes[index].tolist()
        names.write(text, score, (x1, y1, x2, y2), own[index], line_px)


@dataclass(frozen=True)
class _Place:
    x: float
    y: float
    width: float
    height: float

    def meets(self, other: _Place) -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


class _Names:
    """Writes names where there is room for them."""

    def __init__(self, pen: ImageDraw.ImageDraw, width: int, height: int) -> None:
        self._pen = pen
        self._width, self._height = width, height
        self._font_px = max(10, round(min(width, height) / 32))
        self._taken: list[_Place] = []
        self._left = _SHARE_OF_NAMES * width * height

    def write(
        self,
        text: str,
        score: float | None,
        box: tuple[float, float, float, float],
        colour: str,
        line_px: int,
    ) -> None:
        """Write a name above its box, else within it, else below; or nowhere."""
        outline = max(1, self._font_px // 8)
        text, font = legible(text, self._font_px)
        behind = "" if score is None else f" {score:.2f}"
        written, room = text + behind, self._width - 2 * outline
        while self._pen.textlength(written, font=font) > room and len(text) > 2:
            text = text[: max(len(text) - 4, 1)] + "…"
            written = text + behind
        left, top, right, bottom = self._pen.textbbox(
            (0, 0), written, font=font, stroke_width=outline
        )
        wide, high = right - left, bottom - top
        x1, y1, _, y2 = box
        x = min(max(x1, 0), self._width - wide)
        for y in (y1 - high - line_px, y1 + 2 * line_px, y2 + line_px):
            place = _Place(x, y, wide, high)
            inside = x >= 0 and y >= 0 and y + high <= self._height
            if inside and not any(place.meets(other) for other in self._taken):
                break
        else:
            return
        if self._taken and wide * high > self._left:
            return
        self._left -= wide * high
        self._taken.append(place)
        self._pen.text(
            (x - left, y - top),
            written,
            fill=_lighter(colour),
            font=font,
            stroke_width=outline,
            stroke_fill="black",
        )


def _lighter(colour: str) -> tuple[int, ...]:
    """Return a colour half way to white: letters in it stand out from their dark edge."""
    return tuple((value + 255) // 2 for value in ImageColor.getrgb(colour))

"""Boxes and their names on pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from fcos_lightning.inference.fonts import legible
from fcos_lightning.printing import class_label

#: Eight colours that stay apart, also for most of the colour-blind (Okabe and Ito, 2008).
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#FFFFFF")


def draw(
    image: Tensor,
    boxes_xyxy: Tensor,
    labels: Tensor,
    class_names: Sequence[str] | None,
    scores: Tensor | None = None,
) -> Tensor:
    """Return a copy of an image with boxes drawn and named.

    Args:
        image: ``[3, H, W]`` uint8 RGB.
        boxes_xyxy: ``[K, 4]`` pixels.
        labels: ``[K]``.
        class_names: one per label; None: labels are written as numbers.
        scores: ``[K]`` between 0 and 1, written behind the names; the best lie on top.
    """
    if len(boxes_xyxy) == 0:
        return image.clone()
    picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    draw_on(picture, boxes_xyxy, labels, class_names, scores)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def draw_on(
    picture: Image.Image,
    boxes_xyxy: Tensor,
    labels: Tensor,
    class_names: Sequence[str] | None,
    scores: Tensor | None = None,
) -> None:
    """Draw boxes and names on a picture of mode RGB; see ``draw``."""
    pen = ImageDraw.Draw(picture)
    shorter = min(picture.size)
    line_px = max(1, round(shorter / 250))
    font_px = max(10, round(shorter / 32))
    # What ends outside of the picture is drawn to just outside of it, however far it goes.
    far = torch.tensor(picture.size).double().repeat(2) + 2 * line_px
    boxes = torch.minimum(boxes_xyxy.double(), far).clamp(min=-2 * line_px)
    ranks = torch.arange(len(boxes)) if scores is None else scores.argsort(descending=True)
    for index in ranks.flip(0).tolist():
        x1, y1, x2, y2 = boxes[index].tolist()
        if not (x2 >= x1 and y2 >= y1):  # nor is it a number
            continue
        label = int(labels[index])
        colour = COLOURS[label % len(COLOURS)]
        pen.rectangle((x1, y1, x2, y2), outline=colour, width=line_px)
        text = class_label(class_names[label]) if class_names else str(label)
        text, font = legible(text, font_px)
        if scores is not None:
            text += f" {float(scores[index]):.2f}"
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        text_w, text_h = right - left + 2, bottom - top + 2
        # Above the box; inside where the picture ends.
        at_x = min(max(x1, 0), max(picture.width - text_w, 0))
        at_y = y1 - text_h if y1 >= text_h else y1
        pen.rectangle((at_x, at_y, at_x + text_w, at_y + text_h), fill=colour)
        pen.text((at_x + 1 - left, at_y + 1 - top), text, fill="black", font=font)

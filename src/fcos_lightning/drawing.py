"""Boxes and their names on pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fcos_lightning.printing import printable

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
        scores: ``[K]`` between 0 and 1, written behind the names.
    """
    if len(boxes_xyxy) == 0:
        return image.clone()
    picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    pen = ImageDraw.Draw(picture)
    shorter = min(picture.size)
    width = max(1, round(shorter / 250))
    font = ImageFont.load_default(size=max(10, round(shorter / 32)))
    # Weak ones first, so that strong ones lie on top.
    for index in reversed(range(len(boxes_xyxy))):
        x1, y1, x2, y2 = boxes_xyxy[index].tolist()
        if x2 < x1 or y2 < y1:
            continue
        label = int(labels[index])
        colour = COLOURS[label % len(COLOURS)]
        pen.rectangle((x1, y1, x2, y2), outline=colour, width=width)
        text = printable(class_names[label], 60) if class_names else str(label)
        if scores is not None:
            text += f" {float(scores[index]):.2f}"
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        text_w, text_h = right - left + 2, bottom - top + 2
        # Above the box; inside where the picture ends.
        at_x = min(max(x1, 0), max(picture.width - text_w, 0))
        at_y = y1 - text_h if y1 >= text_h else y1
        pen.rectangle((at_x, at_y, at_x + text_w, at_y + text_h), fill=colour)
        pen.text((at_x + 1 - left, at_y + 1 - top), text, fill="black", font=font)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)

"""Detections in the form that other libraries take, and drawn on their image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fcos_lightning.errors import UserError
from fcos_lightning.inference.pictures.drawing import draw_on
from fcos_lightning.inference.pictures.pixels import AnyImage, rgb_pixels
from fcos_lightning.structures import Detections

if TYPE_CHECKING:
    import pandas
    import supervision


def to_pandas(detections: Detections) -> pandas.DataFrame:
    """Return a table with a row for each box, best first.

    Returns:
        ``x1 y1 x2 y2`` float32 in pixels of the image, ``score`` float32 between 0 and 1, ``label``
        int64, 0-based, and ``name`` of the class, None where the classes have no names.

    Raises:
        UserError: if pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise UserError("to_pandas: pandas is not installed; pip install pandas") from None
    found = detections.to("cpu")
    corners = dict(zip(("x1", "y1", "x2", "y2"), found.boxes_xyxy.numpy().T, strict=True))
    names = [None] * len(found) if found.names is None else list(found.names)
    return pandas.DataFrame(
        {
            **corners,
            "score": found.scores.numpy(),
            "label": found.labels.numpy(),
            "name": pandas.Series(names, dtype=object),
        }
    )


def to_supervision(detections: Detections) -> supervision.Detections:
    """Return the detections of Roboflow supervision, which draws, counts and tracks them.

    Returns:
        With the names under ``data["class_name"]``, where its annotators look for them, if the
        classes have names.

    Raises:
        UserError: if supervision is not installed.
    """
    try:
        import supervision
    except ImportError:
        raise UserError(
            "to_supervision: supervision is not installed; pip install supervision"
        ) from None
    found = detections.to("cpu")
    names = {} if found.names is None else {"class_name": np.array(found.names, dtype=str)}
    return supervision.Detections(
        xyxy=found.boxes_xyxy.numpy(),
        confidence=found.scores.numpy(),
        class_id=found.labels.numpy(),
        data=names,
    )


def drawn(detections: Detections, image: AnyImage) -> Image.Image:
    """Return a copy of an image with the boxes, names and scores drawn on it, the best on top.

    Args:
        detections: in pixels of the image.
        image: as ``Predictor`` takes it, and turned as it does.

    Raises:
        UserError: if the image cannot be read.
    """
    picture = Image.fromarray(rgb_pixels(image))
    found = detections.to("cpu")
    draw_on(
        picture,
        found.boxes_xyxy,
        found.labels,
        found.class_names,
        found.scores,
        track_ids=found.track_ids,
    )
    return picture

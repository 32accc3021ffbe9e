from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fcos_lightning import Detections
from fcos_lightning.errors import UserError
from fcos_lightning.inference.pictures.drawing import COLOURS

BOXES = torch.tensor([[10.0, 20.5, 30.0, 40.0], [0.0, 0.0, 5.0, 5.0], [50.0, 1.0, 60.0, 9.0]])
FOUND = Detections(
    BOXES, torch.tensor([0.9, 0.5, 0.25]), torch.tensor([1, 0, 1]), ("Katze", "Hündin")
)
NONE = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), ("a",))
NAMELESS = Detections(FOUND.boxes_xyxy, FOUND.scores, FOUND.labels)


def test_names_are_those_of_the_boxes() -> None:
    assert FOUND.names == ("Hündin", "Katze", "Hündin")
    assert NONE.names == () and NAMELESS.names is None
    assert FOUND.to("cpu").names == FOUND.names  # moving keeps them
    assert FOUND.above(0.5).names == ("Hündin", "Katze")
    twice = FOUND.resized(torch.tensor([10, 20]), torch.tensor([20, 60]))
    assert twice.boxes_xyxy[0].tolist() == [30.0, 41.0, 90.0, 80.0]
    assert twice.names == FOUND.names


def test_pandas_has_a_row_for_each_box() -> None:
    pytest.importorskip("pandas")
    table = FOUND.to_pandas()
    assert list(table.columns) == ["x1", "y1", "x2", "y2", "score", "label", "name"]
    np.testing.assert_array_equal(table[["x1", "y1", "x2", "y2"]].to_numpy(), BOXES.numpy())
    np.testing.assert_array_equal(table["score"], FOUND.scores.numpy())
    assert table["label"].tolist() == [1, 0, 1]
    assert table["name"].tolist() == ["Hündin", "Katze", "Hündin"]
    assert table["label"].dtype == np.int64 and table["x1"].dtype == np.float32
    assert len(NONE.to_pandas()) == 0
    assert list(NONE.to_pandas().columns) == list(table.columns)
    assert NAMELESS.to_pandas()["name"].tolist() == [None] * 3


def test_supervision_takes_the_boxes() -> None:
    supervision = pytest.importorskip("supervision")
    theirs = FOUND.to_supervision()
    assert isinstance(theirs, supervision.Detections)
    np.testing.assert_array_equal(theirs.xyxy, BOXES.numpy())
    np.testing.assert_array_equal(theirs.class_id, [1, 0, 1])
    strong = theirs[theirs.confidence > 0.3]  # what one does with them
    assert strong["class_name"].tolist() == ["Hündin", "Katze"]
    scene = np.zeros((50, 70, 3), np.uint8)
    annotated = supervision.LabelAnnotator().annotate(scene.copy(), theirs)
    assert (annotated != scene).any()
    assert len(NONE.to_supervision()) == 0
    assert "class_name" not in NAMELESS.to_supervision().data


def test_supervision_is_called_as_its_constructor_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is not installed: names, types and shapes of what it is given."""
    given: dict[str, Any] = {}

    def constructor(*, xyxy: Any, confidence: Any, class_id: Any, data: Any) -> str:
        given.update(xyxy=xyxy, confidence=confidence, class_id=class_id, data=data)
        return "theirs"

    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=constructor))
    assert FOUND.to_supervision() == "theirs"
    shapes = {key: given[key].shape for key in ("xyxy", "confidence", "class_id")}
    assert shapes == {"xyxy": (3, 4), "confidence": (3,), "class_id": (3,)}
    assert all(isinstance(given[key], np.ndarray) for key in shapes)
    assert given["class_id"].dtype.kind == "i" and given["confidence"].dtype.kind == "f"
    assert given["data"]["class_name"].tolist() == ["Hündin", "Katze", "Hündin"]


@pytest.mark.parametrize(
    ("package", "convert"),
    [("pandas", Detections.to_pandas), ("supervision", Detections.to_supervision)],
)
def test_what_is_not_installed_says_how_to_install_it(
    package: str, convert: Callable[[Detections], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"{package} is not installed; pip install {package}$"):
        convert(FOUND)


def test_drawn_on_any_guise_of_the_image(tmp_path: Path) -> None:
    pixels = np.full((60, 80, 3), 40, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    guises: list[Any] = [tmp_path / "a.png", Image.fromarray(pixels), pixels]
    guises.append(torch.from_numpy(pixels).permute(2, 0, 1))
    drawn = [FOUND.draw(guise) for guise in guises]
    assert all(one.mode == "RGB" and one.size == (80, 60) for one in drawn)
    assert all((np.asarray(one) == np.asarray(drawn[0])).all() for one in drawn)
    assert drawn[0].getpixel((10, 40)) == tuple(bytes.fromhex(COLOURS[1][1:]))
    assert (pixels == 40).all()
    assert (np.asarray(NONE.draw(pixels)) == pixels).all()


def test_drawn_on_the_picture_as_it_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 90)).save(tmp_path / "a.jpg", exif=exif)
    assert FOUND.draw(tmp_path / "a.jpg").size == (90, 30)

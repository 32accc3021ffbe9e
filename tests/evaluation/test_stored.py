import json
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.scenes import random_scene

from fcos_lightning.errors import UserError
from fcos_lightning.evaluation.coco import coco_summary
from fcos_lightning.evaluation.output import write_predictions
from fcos_lightning.evaluation.stored import read_predictions


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    truth, table = random_scene(4)
    write_predictions(table, truth, tmp_path / "predictions.json")
    again = read_predictions(tmp_path / "predictions.json", truth)
    for name in ("image_ids", "labels", "scores"):
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name))
    np.testing.assert_allclose(again.boxes_xyxy, table.boxes_xyxy, atol=1e-9)
    assert coco_summary(truth, again) == coco_summary(truth, table)


def test_a_file_of_other_images_classes_or_makes_is_refused(tmp_path: Path) -> None:
    truth, _ = random_scene(4)
    image, name = int(truth.image_ids[0]), str(truth.file_names[0])
    row = {
        "image_id": image,
        "category_id": 0,
        "bbox": [0, 0, 5, 5],
        "score": 0.5,
        "file_name": name,
    }
    file = tmp_path / "predictions.json"
    for changed, said in (
        ({**row, "image_id": 10**6}, "image 1000000"),
        ({**row, "file_name": "other.jpg"}, "'other.jpg', is not of this data set"),
        ({**row, "category_id": 77}, "class 77 is not of this data set"),
        ({**row, "bbox": [0, 0, 5]}, "is no list of detections"),
        ({**row, "score": "high"}, "is no list of detections"),
        ({**row, "bbox": [0, 0, 1e308, 1e308], "score": 1e400}, "is no list of detections"),
    ):
        text = json.dumps([row, changed]).replace("Infinity", "1e400")
        file.write_text(text)
        with pytest.raises(UserError, match=said) as caught:
            read_predictions(file, truth)
        assert str(file) in str(caught.value)
    for content in (b"", b"{}", b"[1]", b"\xff\xfe", b"[" * 100_000):
        file.write_bytes(content)
        with pytest.raises(UserError, match="is no list of detections"):
            read_predictions(file, truth)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_predictions(tmp_path / "missing.json", truth)

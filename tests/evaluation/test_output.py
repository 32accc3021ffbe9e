import contextlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.console import Console
from tests.evaluation.scenes import coco_golden, ground_truth, perfect, random_scene, table

from fcos_lightning.errors import UserError
from fcos_lightning.evaluation.coco import coco_summary
from fcos_lightning.evaluation.output import print_table, write_metrics, write_predictions
from fcos_lightning.evaluation.voc import voc_summary

LARGE = [200, 200, 350, 350]


def printed(summary: dict) -> list[str]:
    console = Console(file=io.StringIO(), width=100)
    print_table(summary, console)
    return console.file.getvalue().splitlines()


def test_the_table_shows_every_figure_and_class_in_order() -> None:
    truth = ground_truth({1: [(LARGE, 0), (LARGE, 2)]}, class_names=("zebra", "ant [red]", "cow"))
    summary = coco_summary(truth, table([(1, LARGE, 0.9, 0)]))
    lines = printed(summary)
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if "│" in line]
    overall, rows = cells[:12], cells[12:]
    assert [row[0] for row in overall] == (
        ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    )
    assert overall[0][1] == "0.500"
    assert overall[3][1] == "-"
    assert rows == [
        ["zebra", "1.000", "1.000", "1"],
        ["ant [red]", "-", "-", "0"],
        ["cow", "0.000", "0.000", "1"],
    ]


def test_the_table_of_voc_shows_both_means() -> None:
    truth, detections = random_scene(2)
    summary = coco_summary(truth, detections) | voc_summary(truth, detections)
    text = "\n".join(printed(summary))
    assert f"{summary['mAP_11point']:.3f}" in text
    assert "mAP_area" in text
    assert "AP_11point" in text


def test_metrics_are_strict_json(tmp_path: Path) -> None:
    truth = ground_truth({1: [(LARGE, 0)]})
    path = tmp_path / "new" / "metrics.json"
    write_metrics(coco_summary(truth, perfect(truth)), path)

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    read = json.loads(path.read_text(), parse_constant=refuse)
    assert {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "per_class"} <= set(
        read
    )
    assert read["AP"] == pytest.approx(1.0)
    assert read["APs"] is None
    assert read["per_class"]["class2"] == {"AP": None, "AP50": None, "boxes": 0}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_metrics({"AP": 0.5}, path)
    with pytest.raises(ValueError, match="JSON"):
        write_metrics({"AP": 0.25, "AP50": float("nan")}, path)
    assert json.loads(path.read_text()) == {"AP": 0.5}
    assert os.listdir(tmp_path) == ["metrics.json"]
    with pytest.raises(UserError, match=r"cannot write .*metrics.json"):
        write_metrics({"AP": 0.5}, path / "metrics.json")


def test_category_ids_go_back_to_the_data_sets_own(tmp_path: Path) -> None:
    truth = ground_truth(
        {12: [(LARGE, 0), ([10, 20, 40, 60], 1)], 5: [([1, 2, 31, 42], 2)]}, category_ids=(0, 7, 90)
    )
    path = tmp_path / "predictions.json"
    write_predictions(perfect(truth), truth, path)
    assert json.loads(path.read_text()) == [
        {
            "image_id": 12,
            "category_id": 0,
            "bbox": [200, 200, 150, 150],
            "score": 0.9,
            "file_name": "12.jpg",
        },
        {
            "image_id": 12,
            "category_id": 7,
            "bbox": [10, 20, 30, 40],
            "score": 0.7,
            "file_name": "12.jpg",
        },
        {
            "image_id": 5,
            "category_id": 90,
            "bbox": [1, 2, 30, 40],
            "score": 0.5,
            "file_name": "5.jpg",
        },
    ]


def test_no_predictions_and_odd_file_names_are_json_too(tmp_path: Path) -> None:
    truth = ground_truth({1: [(LARGE, 0)]})
    write_predictions(table([]), truth, tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text()) == []
    truth.file_names[:] = np.array(['ä"b'])
    write_predictions(perfect(truth), truth, tmp_path / "one.json")
    assert json.loads((tmp_path / "one.json").read_text())[0]["file_name"] == 'ä"b'
    with pytest.raises(ValueError, match="image 6"):
        write_predictions(table([(6, LARGE, 0.5, 0)]), truth, tmp_path / "one.json")


def test_pycocotools_evaluates_the_file_to_the_same_figures(shared: Path, tmp_path: Path) -> None:
    folder = shared / "golden" / "coco_eval"
    truth, detections = coco_golden(folder)
    path = tmp_path / "predictions.json"
    write_predictions(detections, truth, path)
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO(str(folder / "instances_val2014_100.json"))
        evaluation = COCOeval(api, api.loadRes(str(path)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    summary = coco_summary(truth, detections, backend="faster")
    names = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    assert evaluation.stats.tolist() == pytest.approx([summary[name] for name in names], abs=1e-12)

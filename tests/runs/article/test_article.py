"""The article's claims on drawn shapes: every number of the page, and where it comes from."""

from __future__ import annotations

import csv
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.reports.article.pages import CASES, WORDS, numbers_of

from fcos_lightning.detector.assigners.anchors import AnchorAssigner
from fcos_lightning.detector.grid import Grid
from fcos_lightning.errors import UserError
from fcos_lightning.reports.article.write import PUBLISHED
from fcos_lightning.runs.article import trained, untrained
from fcos_lightning.runs.article.cases import case_name, cases_of, hyperparameters, size_of_net
from fcos_lightning.runs.article.trained import TrainedRun, trained_numbers
from fcos_lightning.runs.article.untrained import mappings, untrained_numbers
from fcos_lightning.runs.config.composed import composed, config_dir
from fcos_lightning.runs.session import make_datamodule


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return numbers_of(tmp_path_factory.mktemp("article"))


def row(numbers: dict[str, Any], key: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in numbers[key] if one["name"] == name]
    result: dict[str, Any] = found
    return result


def test_a_pyramid_and_center_sampling_make_fewer_points_ambiguous(
    numbers: dict[str, Any],
) -> None:
    for which in ("every point of a box", "center sampling"):
        alone = row(numbers, "ambiguous", f"one level, {which}")
        pyramid = row(numbers, "ambiguous", f"pyramid, {which}")
        for one in (alone, pyramid):
            assert one["share"] == pytest.approx(one["ambiguous"] / one["positive"], abs=1e-6)
            assert one["several_classes"] <= one["ambiguous"] <= one["positive"]
        assert pyramid["share"] <= alone["share"]
    names = {one["name"] for one in numbers["ambiguous"]}
    assert set(PUBLISHED["ambiguous"]) <= names
    assert set(PUBLISHED["recall"]) <= {one["name"] for one in numbers["recall"]}


def test_recall_falls_with_the_overlap_that_is_asked_for(numbers: dict[str, Any]) -> None:
    strict, loose, best = (
        row(numbers, "recall", f"RetinaNet's anchors, IoU {which}")["recall"]
        for which in ("0.5", "0.4", "0.5 or a box's best")
    )
    assert strict <= loose and strict <= best <= 1
    assert all(one["boxes"] == numbers["boxes"] for one in numbers["recall"])


def test_one_mapping_has_the_same_numbers_in_each_table(numbers: dict[str, Any]) -> None:
    per_image = row(numbers, "balance", "fcos")["positive"]
    pyramid = row(numbers, "ambiguous", "pyramid, center sampling")["positive"]
    assert per_image == pytest.approx(pyramid / numbers["looked_at"], abs=0.01)
    for one in numbers["balance"]:
        if "points" in one:
            parts = one["positive"] + one["ignored"] + one["background"]
            assert parts == pytest.approx(one["points"], abs=0.2)
    # What depends on predictions is not counted, rather than counted as something.
    assert "points" not in row(numbers, "balance", "tal")


def test_the_boxes_of_ssds_paper(numbers: dict[str, Any]) -> None:
    assert numbers["ssd_boxes"]["paper"] == 8732
    assert numbers["ssd_boxes"]["here"] > 0


def test_hyperparameters_are_the_fields_of_the_parts() -> None:
    with composed("train", WORDS) as config:
        split = make_datamodule(config).train
    words = [*WORDS, "model=mnv2", "model.backbone.weights=null"]
    (retinanet, fcos) = cases_of(words, (["method=retinanet"], ["method=fcos"]), split)
    counts = hyperparameters(retinanet.detector)
    assert counts["assigner"] == {"options": len(fields(AnchorAssigner)), "numbers": 2}
    # Strides and what they are pooled from are derived; offset, three sizes and three ratios set.
    assert counts["grid"] == {"options": len(fields(Grid)) - 2, "numbers": 7}
    for key in ("options", "numbers"):
        assert counts["all"][key] == sum(
            counts[part][key] for part in ("grid", "head", "assigner", "loss", "decoder")
        )
    ours = hyperparameters(fcos.detector)
    assert ours["grid"]["numbers"] == ours["assigner"]["numbers"] == 1


def test_the_size_of_a_net() -> None:
    with composed("train", WORDS) as config:
        split = make_datamodule(config).train
    (case,) = cases_of(WORDS, [["method=fcos"]], split)
    parameters, small = size_of_net(case.detector, (64, 64))
    assert parameters == sum(one.numel() for one in case.detector.parameters())
    _, large = size_of_net(case.detector, (128, 128))
    assert large == pytest.approx(4 * small, rel=0.05) and small > 0


def test_so_many_images_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*WORDS, f"data.root={tmp_path}"]
    with composed("train", words) as config:
        data = make_datamodule(config)
    cases = cases_of(words, CASES[:3], data.train)
    done: list[int] = []
    found = untrained_numbers(data, cases, 5, lambda: done.append(1))
    assert (found["looked_at"], found["images"]) == (5, 24)
    assert len(done) == mappings(cases)
    monkeypatch.setattr(untrained, "_MOST_POINTS", 1000)
    assert untrained_numbers(data, cases)["looked_at"] < 24
    with pytest.raises(UserError, match=r"sweep\.cases: \[method=ssd\] has to be among them"):
        untrained_numbers(data, cases[:2])


def test_published_names_are_those_of_cases() -> None:
    file = config_dir() / "sweep" / "article.yaml"
    cases = yaml.safe_load(file.read_text(encoding="utf-8"))["cases"]
    names = [case_name(case) for case in cases]
    assert set(PUBLISHED["AP"]) <= set(names) and len(set(names)) == len(names)
    methods = {path.stem for path in (config_dir() / "method").glob("*.yaml")} - {"fcos_small"}
    assert methods <= set(names)  # which is FCOS with other sizes of boxes in its loss


def test_runs_are_summed_up_over_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[Path] = []

    def image_ms(run: Any, split: object) -> float:
        timed.append(run.path)
        return 12.5

    monkeypatch.setattr(trained, "_image_ms", image_ms)
    words = ("method=fcos",)
    for name, speeds in (("a", (9.0, 10.0, 20.0)), ("b", (40.0,))):
        folder = tmp_path / name
        folder.mkdir()
        with (folder / "metrics.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("step", "speed/images_per_s"))
            rows.writerows([(1, ""), *((step, speed) for step, speed in enumerate(speeds))])
        (folder / "config.yaml").write_text(
            "data: {batch_size: 4}\ntrainer: {accumulate_grad_batches: 2}\n"
        )
    runs = [
        TrainedRun(words, tmp_path / "a", True, {"AP": 0.25, "AP50": 0.5}),
        TrainedRun(words, tmp_path / "b", True, {"AP": 0.35, "AP50": 0.6}),
        TrainedRun(words, tmp_path / "c", False, {"AP": 0.9}),  # not finished: no figure of it
    ]
    split: Any = None
    first, other = trained_numbers(runs, [words, ("method=ssd",)], split)
    assert (first["runs"], first["done"]) == (3, 2)
    assert first["AP"] == 0.3 and first["AP50"] == 0.55 and first["APs"] is None
    assert first["spread"] == pytest.approx(0.070711, abs=1e-6)
    assert first["step_ms"] == 500.0  # the median of 800 and 200
    assert first["image_ms"] == 12.5 and timed == [tmp_path / "a"]
    assert other == {
        **dict.fromkeys(("AP", "AP50", "APs", "APm", "APl", "spread", "step_ms", "image_ms")),
        **{"name": "ssd", "runs": 0, "done": 0},
    }


def test_every_number_is_plain(numbers: dict[str, Any]) -> None:
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evaluation.scenes import ground_truth, perfect, table
from tests.reports.compare.pages import RUNS, hostile_comparison
from tests.reports.known_numbers import known_numbers
from tests.reports.pages import FILES, NAMES
from tests.reports.test_report import Text

from fcos_lightning.evaluation.coco import coco_summary
from fcos_lightning.reports.compare.numbers import ComparedRun, comparison_numbers
from fcos_lightning.reports.compare.settings import differences


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    return hostile_comparison(tmp_path_factory.mktemp("comparison"))


def test_names_are_text_whatever_they_hold(made: tuple[Path, dict[str, Any]]) -> None:
    text = (made[0] / "comparison.html").read_text()
    page = Text(text)
    seen = "\n".join(page.seen)
    for name in (*RUNS, *NAMES, "<i>step 2</i>"):
        assert name in seen
    shown = {image["file"] for image in made[1]["shown"]}
    assert shown & set(FILES)
    for file in shown:
        assert file in seen
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 2 and not {"img", "b", "i"} & set(tags)
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            value = attributes.get(name)
            own = value is None or value.startswith(("#", "data:")) or value.endswith("report.html")
            assert own, (tag, name, value)
    assert "url(" not in text and "@import" not in text


def test_the_page_shows_what_the_json_holds(made: tuple[Path, dict[str, Any]]) -> None:
    numbers = json.loads((made[0] / "comparison.json").read_text())
    assert numbers == made[1]
    text = (made[0] / "comparison.html").read_text()
    body = text.split("<body>")[1].split('<script type="application/json"')[0]
    seen = " ".join(Text(f"<body>{body}").seen).replace("\u2212", "-")
    for run in numbers["runs"]:
        for one in (*run["figures"].values(), *(run["against_first"] or {}).values()):
            for key in ("value", "low", "high"):
                assert one[key] is None or f"{abs(one[key]):.3f}" in seen
    known = known_numbers(
        numbers, lambda value: (f"{value}", f"{abs(value):.3f}", f"{100 * value:.1f}")
    )
    known.add("100")  # of 100 draws
    body = re.sub(r"<(script|svg|style)\b.*?</\1>", " ", body, flags=re.S)
    body = re.sub(r'<div class="ticks".*?</div>', " ", body, flags=re.S)
    body = re.sub(r"<p\b[^>]*>.*?</p>|<bdi>.*?</bdi>|<h3.*?</h3>", " ", body, flags=re.S)
    rest = " ".join(Text(f"<body>{body}").seen)
    found = re.findall(r"(?<![\w.:])\d+(?:\.\d+)?(?![\w:])", rest)
    assert len(found) > 150
    assert [one for one in found if one not in known] == []


def two_runs() -> tuple[Any, list[ComparedRun]]:
    """Four images with a box each; the second run misses one and finds something false."""
    box = [10.0, 10.0, 60.0, 60.0]
    truth = ground_truth({number: [(box, 0)] for number in (1, 2, 3, 4)})
    rows = [(number, box, 0.9 - number / 100, 0) for number in (1, 2, 4)]
    worse = table([*rows, (3, [200.0, 200.0, 300.0, 300.0], 0.88, 0)])
    return truth, [
        ComparedRun(name, name, None, {"seed": number}, found, Path("missing.csv"))
        for number, (name, found) in enumerate((("all", perfect(truth)), ("three", worse)))
    ]


def test_figures_and_differences_are_those_of_coco() -> None:
    truth, runs = two_runs()
    numbers = comparison_numbers(truth, runs, "val", 200, 0)
    for run, row in zip(runs, numbers["runs"], strict=True):
        summary = coco_summary(truth, run.table)
        assert {name: one["value"] for name, one in row["figures"].items()} == {
            name: summary[name] for name in row["figures"]
        }
    gap = numbers["runs"][1]["against_first"]["AP"]
    ap = numbers["runs"][1]["figures"]["AP"]["value"]
    assert numbers["runs"][0]["figures"]["AP"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert gap["value"] == pytest.approx(ap - 1) and gap["low"] < gap["value"] < gap["high"] == 0
    # Where the third image is not drawn, the two are equal: that is half a win for each.
    assert gap["higher"] == pytest.approx(0.75**4 / 2, abs=0.05)
    assert "which holds 0" in numbers["verdict"][0]
    assert numbers["classes"][0]["against_first"][0]["value"] == pytest.approx(ap - 1)
    assert numbers["classes"][1]["AP"][0] == {"value": None, "low": None, "high": None}


def test_images_and_objects_are_told_apart() -> None:
    truth, runs = two_runs()
    numbers = comparison_numbers(truth, runs, "val", 10, 0)
    images = {"both": 3, "first": 1, "other": 0, "neither": 0}
    assert numbers["pairs"] == [{"images": images, "objects": images}]
    (shown,) = numbers["shown"]
    assert (shown["id"], shown["better"], shown["other"]) == (3, "first", 1)
    right, wrong = shown["found"]
    assert (right["missed"], right["wrong"], right["cost"]) == ([], 0, 0.0)
    assert (wrong["missed"], wrong["wrong"], wrong["cost"]) == ([0], 1, 1.88)
    assert [one["wrong"] for one in wrong["detections"]] == [True]


def test_the_same_run_twice_differs_in_nothing() -> None:
    truth, (first, _) = two_runs()
    numbers = comparison_numbers(truth, [first, first], "val", 20, 0)
    gap = numbers["runs"][1]["against_first"]["AP"]
    assert gap == {"value": 0.0, "low": 0.0, "high": 0.0, "higher": 0.5}
    assert numbers["shown"] == [] and numbers["settings"] == []
    assert "the same AP" in numbers["verdict"][0]


def test_without_an_object_nothing_is_said() -> None:
    _, runs = two_runs()
    empty = ground_truth({number: [] for number in (1, 2, 3, 4)})
    numbers = comparison_numbers(empty, runs, "val", 20, 0)
    assert numbers["runs"][1]["against_first"]["AP"]["value"] is None
    assert numbers["verdict"] == ["val has no object to be found: nothing is measured."]


def test_settings_differ_in_values_and_not_in_their_folders() -> None:
    def config(run_dir: str, **more: object) -> dict[str, object]:
        callbacks = {"best": {"dirpath": f"{run_dir}/checkpoints", "mode": "max"}}
        return {"run_dir": run_dir, "callbacks": callbacks, "logger": {"a": run_dir}, **more}

    rows = differences(
        [
            config("/runs/a", schedule={"lr": 0.01, "steps": [1, 2]}, seed=1, only=None),
            config("/runs/ab", schedule={"lr": 0.001, "steps": [1, 2]}, seed=1, flag=True),
        ]
    )
    assert rows == [
        {"key": "schedule.lr", "values": ["0.01", "0.001"]},
        {"key": "only", "values": ["null", None]},
        {"key": "flag", "values": [None, "true"]},
    ]
    transforms = [{"name": "flip", "p": 0.5}, {"name": "crop"}]
    rows = differences([{"augment": transforms}, {"augment": transforms[1:]}])
    assert [row["key"] for row in rows] == ["augment.0.name", "augment.0.p", "augment.1.name"]


def test_the_interval_of_many_images_is_that_of_a_share() -> None:
    """Of images that are right or wholly wrong AP is a share, whose spread is known."""
    box = [10.0, 10.0, 60.0, 60.0]
    truth = ground_truth({number: [(box, 0)] for number in range(1, 401)})
    found = table([(n, box, 0.9, 0) for n in range(1, 201)])
    run = ComparedRun("half", "half", None, {}, found, Path("missing.csv"))
    none = ComparedRun("none", "none", None, {}, table([]), Path("missing.csv"))
    numbers = comparison_numbers(truth, [none, run], "val", 1000, 0)
    ar = numbers["runs"][1]["figures"]["AR100"]
    assert ar["value"] == 0.5
    half = 1.96 * np.sqrt(0.25 / 400)
    assert (ar["low"], ar["high"]) == pytest.approx((0.5 - half, 0.5 + half), abs=0.008)
    assert numbers["runs"][1]["against_first"]["AP"]["higher"] == 1.0
    assert "on one side of 0" in numbers["verdict"][0]

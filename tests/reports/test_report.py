import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.scenes import ground_truth, random_scene, table
from tests.reports.known_numbers import known_numbers
from tests.reports.pages import FILES, NAMES, detections_of, hostile_report

from fcos_lightning.data.splits import DataSplit
from fcos_lightning.evaluation.coco import coco_summary
from fcos_lightning.evaluation.thresholds import Thresholds
from fcos_lightning.reports.advice import Circumstances, _confused, _weakest
from fcos_lightning.reports.report import report_numbers, report_page, write_report
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.structures import GroundTruth

AROUND = Circumstances(800, 1333, (8, 16, 32))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return hostile_report(tmp_path_factory.mktemp("report"))


class Text(HTMLParser):
    """Tags of a page, and the text that a person sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.seen: list[str] = []
        self._hidden = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.append((tag, dict(attributes)))
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.seen.append(data)


def test_names_are_text_whatever_they_hold(run: RunFolder) -> None:
    page = Text(run.report.read_text())
    seen = "\n".join(page.seen)
    for name in NAMES:
        assert name in seen
    for file in FILES:
        assert file in seen
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 2 and "img" not in tags and "b" not in tags
    assert "runs/<b>bold</b>/best.ckpt" in seen
    # What the script reads is not ended by a name, and is what the names are.
    start = '<script type="application/json" id="data">'
    data = run.report.read_text().split(start)[1].split("</script>")[0]
    assert [row["name"] for row in json.loads(data)["classes"]] == list(NAMES)


def test_nothing_is_loaded_from_elsewhere(run: RunFolder) -> None:
    for tag, attributes in Text(run.report.read_text()).tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    assert "url(" not in run.report.read_text() and "@import" not in run.report.read_text()


def test_every_number_of_the_page_is_in_the_json(run: RunFolder) -> None:
    numbers = json.loads(run.report_numbers.read_text())
    known = known_numbers(
        numbers, lambda value: (f"{value}", f"{value:.3f}", f"{value:.2f}", f"{value:.0f}")
    )
    known.update(str(len(numbers[name]["images"])) for name in ("worst",))
    known.update(str(len(numbers[name]["listed"])) for name in ("labels",))
    known.update({one.lstrip("-") for one in known})  # corners may lie left of the image
    body = run.report.read_text().split("<body>")[1]
    # What is the page's own: axes, and the sentences that say how a figure is defined.
    body = re.sub(r"<(script|svg|style)\b.*?</\1>", " ", body, flags=re.S)
    body = re.sub(r"<p\b[^>]*>.*?</p>|<caption>.*?</caption>|<bdi>.*?</bdi>", " ", body, flags=re.S)
    text = " ".join(Text(f"<body>{body}").seen)
    shown = re.findall(r"(?<![\w.:])\d+(?:\.\d+)?(?![\w:])", text)
    assert len(shown) > 200
    assert [one for one in shown if one not in known] == []


def test_the_thresholds_can_be_read_back(run: RunFolder) -> None:
    numbers = json.loads(run.report_numbers.read_text())
    chosen = Thresholds.read(run.thresholds)
    assert chosen.overall == numbers["best"]["threshold"]
    found = chosen.of_classes(NAMES, range(5))
    for row, threshold in zip(numbers["classes"], found, strict=True):
        assert threshold == row["best"]["threshold"]
        assert row["best"]["F1"] >= row["at_threshold"]["F1"] - 5e-5  # which is rounded


def test_the_worst_come_first_by_the_cost_that_is_stated(run: RunFolder) -> None:
    worst = json.loads(run.report_numbers.read_text())["worst"]
    costs = []
    for image in worst["images"]:
        missed = [
            one
            for one in image["objects"]
            if not one["ignored"] and (one["found"] is None or one["found"] < worst["score"])
        ]
        wrong = [
            one["score"]
            for one in image["detections"]
            if one["kind"] not in ("right", "neither") and one["score"] >= worst["score"]
        ]
        assert (image["missed"], image["wrong"]) == (len(missed), len(wrong))
        assert image["cost"] == pytest.approx(len(missed) + sum(wrong), abs=2e-3)
        costs.append(image["cost"])
    assert len(costs) > 5 and costs == sorted(costs, reverse=True)


@pytest.mark.parametrize("case", ["no detection", "no object", "no image", "all right"])
def test_odd_data_have_a_report_too(case: str, tmp_path: Path) -> None:
    box = [0.0, 0, 10, 10]
    truth = ground_truth({1: [] if case == "no object" else [(box, 0)], 2: []})
    found = table([(1, box, 0.5, 0)])
    if case == "no detection":
        found = table([])
    if case == "no image":
        truth, found = ground_truth({}), table([])
    split = DataSplit(truth, tmp_path, {}, "val")
    files = write_report(
        RunFolder(tmp_path), split, found, coco_summary(truth, found), AROUND, "title"
    )
    assert all(file.is_file() for file in files)
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["advice"]
    assert len(numbers["worst"]["images"]) == (case in ("no detection", "no object"))
    if case == "no detection":  # and the image cannot be read
        assert "cannot be read" in (tmp_path / "report.html").read_text()


def test_a_name_that_is_no_utf8_is_written_too(tmp_path: Path) -> None:
    box = [0.0, 0, 10, 10]
    truth = ground_truth({1: [(box, 0)]}, category_ids=(1,), class_names=("\udce9t\u00e9",))
    truth = dataclasses.replace(truth, file_names=np.array(["\udcff.png"]))
    split = DataSplit(truth, tmp_path, {}, "val")
    found = table([(1, [50.0, 0, 60, 10], 0.9, 0)])
    summary = coco_summary(truth, found)
    write_report(RunFolder(tmp_path), split, found, summary, AROUND, "\udcff")
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["worst"]["images"][0]["file"] == "\udcff.png"
    assert Thresholds.read(tmp_path / "thresholds.json").of_classes(truth.class_names, (1,))
    assert "\\udcff.png" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("classes", [80, 1200])
def test_a_page_of_five_thousand_images_is_small(classes: int) -> None:
    """Without its pictures, 3 MB at most; few detections, so that it is quick."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(2, 5000)
    total = int(counts.sum())
    corner = rng.random((total, 2)) * 500
    boxes = np.concatenate([corner, corner + rng.gamma(2, 40, (total, 2)) + 3], axis=1)
    truth = GroundTruth(
        image_ids=np.arange(5000),
        file_names=np.array([f"{number:012}.jpg" for number in range(5000)]),
        sizes_hw=np.full((5000, 2), 640),
        first_box=np.concatenate([[0], np.cumsum(counts)]),
        boxes_xyxy=boxes,
        labels=rng.integers(0, classes, total),
        ignored=np.zeros(total, dtype=bool),
        areas_px=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
        class_names=tuple(f"a class of number {number}" for number in range(classes)),
        category_ids=tuple(range(classes)),
    )
    found = detections_of(truth, rng)
    split = DataSplit(truth, Path("/none"), {}, "val")
    numbers = report_numbers(split, found, coco_summary(truth, found), AROUND)
    page = report_page(numbers, [None] * len(numbers["worst"]["images"]), "title")
    assert len(numbers["worst"]["images"]) == 50
    assert len(page.encode()) < 3_000_000


def test_advice_says_what_the_numbers_say() -> None:
    truth, found = random_scene(3)
    split = DataSplit(truth, Path("/none"), {}, "val")
    around = Circumstances(40, 400, (32, 64), [3, 3000, 3000])
    numbers = report_numbers(split, found, coco_summary(truth, found), around)
    said = {row["about"]: row["text"] for row in numbers["advice"]}
    best = numbers["best"]
    assert f"score_threshold={best['threshold']:g}" in said["threshold"]
    assert "class0 3 (AP" in said["boxes"] and said["boxes"].startswith("1 of 3 classes")
    # All images are 400 x 400: at 40 a box narrower than 320 px is narrower than 32.
    sides = (truth.boxes_xyxy[:, 2:] - truth.boxes_xyxy[:, :2]).min(axis=1)
    small = int(((sides < 320) & ~truth.ignored).sum())
    assert said["size"].startswith(f"{small} of {numbers['objects']} objects are narrower")


def test_boxes_without_an_area_are_what_is_said_first() -> None:
    truth, found = random_scene(3)
    flat = dataclasses.replace(found, boxes_xyxy=found.boxes_xyxy[:, [0, 1, 0, 3]])
    split = DataSplit(truth, Path("/none"), {}, "val")
    numbers = report_numbers(split, flat, coco_summary(truth, flat), AROUND)
    first = numbers["advice"][0]["text"]
    assert first.startswith(f"None of {len(flat.scores)} detections has an area")
    assert "lower schedule.lr" in first


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        # 9 of 9000 are more than 6 of 20, and say less; 1 of 2 says less still.
        ([[9000, 9, 0, 0], [6, 14, 0, 0], [0, 1, 1, 0]], "b is taken for a more than any class"),
        ([[9000, 9, 0, 0], [0, 20, 0, 0], [0, 0, 2, 0]], "Classes are seldom taken for each other"),
        ([[9000, 0, 0, 3], [0, 20, 0, 0], [0, 0, 2, 0]], "No object is taken for another class"),
    ],
)
def test_the_confusion_that_tells_most_is_named(rows: list[list[int]], said: str) -> None:
    matrix = [*rows, [1, 2, 3, 0]]
    names = ["a", "b", "c", "background"]
    numbers = {"confusion": {"names": names, "rows": matrix}, "best": {"threshold": 0.5}}
    (found,) = [row["text"] for row in _confused(numbers)]
    assert found.startswith(said)
    if rows[0][1]:
        assert ("6 of 20 objects" if rows[1][0] else "9 of 9,009 objects") in found


def test_a_class_that_is_nearly_never_found_is_named() -> None:
    rows = [
        {"name": "often", "objects": 900, "at_threshold": {"recall": 0.8}, "best": None},
        {
            "name": "hardly",
            "objects": 50,
            "at_threshold": {"recall": 0.1},
            "best": {"threshold": 0.2, "recall": 0.4, "precision": 0.7},
        },
        {"name": "once", "objects": 1, "at_threshold": {"recall": 0.0}, "best": None},
    ]
    numbers = {"best": {"threshold": 0.5, "recall": 0.76}, "classes": rows}
    (said,) = _weakest(numbers)
    assert said["text"] == (
        "hardly is missed most: 45 of 50 objects at 0.5; its own threshold, 0.2, finds 0.40 of "
        "them, with precision 0.70."
    )
    rows[1]["at_threshold"] = {"recall": 0.5}
    assert not list(_weakest(numbers))

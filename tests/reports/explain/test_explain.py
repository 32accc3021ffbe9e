"""The numbers of the page, for every method, and what bounds them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.explanation.scenes import METHODS, small_detector
from tests.reports.explain.scenes import hostile_explanation
from tests.reports.pages import hostile_split

import fcos_lightning.reports.explain.explain as module
from fcos_lightning.errors import UserError
from fcos_lightning.explanation.looking import Onlooker
from fcos_lightning.explanation.settings import Setting, mapping_of, one_changed, target_of
from fcos_lightning.reports.explain.explain import Asked, explanation_numbers, write_explanation
from fcos_lightning.reports.explain.summary import Course, chosen_images, level_name


def numbers_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "explain.json").read_text())
    return content


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_explained(method: str, tmp_path: Path) -> None:
    numbers = numbers_of(hostile_explanation(tmp_path / "page", method, shown=3, every=3))
    mapping, missed = numbers["mapping"], numbers["missed"]
    assert mapping["images"] == 4 and mapping["positive"] > 0
    assert mapping["boxes"] == missed["objects"]
    lost = numbers["unanswered"]
    assert len(lost) == mapping["unanswered"] == sum(mapping["unanswered_reasons"].values())
    assert mapping["best_possible_recall"] == round(1 - len(lost) / mapping["boxes"], 6)
    assert sum(row["count"] for row in missed["reasons"]) == missed["missed"]
    for key in ("points", "positive", "ambiguous", "several_classes"):
        assert sum(row[key] for row in mapping["levels"]) == mapping[key]
    target = numbers["settings"][0]["target"]
    assert target == target_of(small_detector(method))
    shown = 0
    for image in numbers["shown"]:
        here, said = image["settings"][0], image["said"]
        assert len(here["at"]) == len(here["box"]) == sum(map(sum, here["by_box"]))
        assert (here["target"] is None) == (target == "none")
        wanted = {place for place, one in enumerate(image["boxes"]) if not one["ignored"]}
        found = {row[0] for row in said["found"] if row[1] >= missed["threshold"]}
        assert found | {one["number"] for one in said["missed"]} == wanted
        assert not found & {one["number"] for one in said["missed"]}
        for one in said["candidates"]:
            assert one[4] < len(said["candidates"]) and (one[3] == "suppressed") == (one[4] >= 0)
        assert {*here["at"], *(one[0] for one in said["candidates"])} <= set(said["at"])
        shown += len(said["candidates"])
    assert shown > 0
    page = (tmp_path / "page/explain.html").read_text()
    assert "<script>document.title" not in page


def test_without_a_prediction_nothing_of_one_is_told(tmp_path: Path) -> None:
    numbers = numbers_of(hostile_explanation(tmp_path / "page", predicted=False))
    assert numbers["missed"] is None and not numbers["predicted"]
    assert all("said" not in image for image in numbers["shown"])


def test_one_thing_is_changed_at_a_time(tmp_path: Path) -> None:
    detector = small_detector("fcos")
    base = Setting(mapping_of(detector), 96, 160, "centerness", "fcos")
    found = {(one.changed, one.value): one for one in one_changed(base, {})}
    assert {"", "center radius", "size ranges", "levels", "image size"} == {a for a, _ in found}
    assert found["center radius", "none"].mapping.assigner.center_radius is None  # type: ignore[attr-defined]
    assert found["image size", "shorter side 144"].longer == 240
    fewer = found["levels", "without the coarsest"]
    assert fewer.strides == (8, 16)
    # The level that is left takes over the sizes of the one that is not.
    assert fewer.mapping.assigner.size_ranges[-1][1] == float("inf")  # type: ignore[attr-defined]
    assert found["levels", "without the finest"].mapping.assigner.size_ranges[0][0] == -1  # type: ignore[attr-defined]
    doubled = found["size ranges", "twice as large"].mapping.assigner
    assert doubled.size_ranges == ((-1, 64), (64, 128), (128, float("inf")))  # type: ignore[attr-defined]
    for one in found.values():
        one.mapping.assigner.check(one.strides)


def test_a_page_with_many_points_leaves_other_settings_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_POINTS", 1000)
    numbers = numbers_of(hostile_explanation(tmp_path / "page", predicted=False))
    counts = [len(image["settings"]) for image in numbers["shown"]]
    assert counts[0] == len(numbers["settings"]) and counts[-1] == 1
    # The figures are of all of them, all the same.
    assert {one["numbers"]["images"] for one in numbers["settings"]} == {len(counts)}


def asked_for(tmp_path: Path, **options: Any) -> Asked:
    split, _ = hostile_split(tmp_path)
    detector = small_detector("fcos", classes=5)
    base = Setting(mapping_of(detector), 96, 160, "centerness", "fcos")
    given = {"files": [], "count": 4, "skip": False, "title": "", **options}
    seen = detector if given.pop("predicted", False) else None
    return Asked(Onlooker(split, True, seen), [base], range(len(split)), **given)


def test_images_are_shown_by_their_names(tmp_path: Path) -> None:
    numbers = explanation_numbers(
        asked_for(tmp_path, files=["plain_3.png", "🦄.png"]), lambda images, _: images
    )
    assert [image["file"] for image in numbers["shown"]] == ["plain_3.png", "🦄.png"]
    with pytest.raises(UserError, match=r"files=nobody.png: split val has no such image; give"):
        explanation_numbers(asked_for(tmp_path, files=["nobody.png"]), lambda images, _: images)


def test_a_file_that_cannot_be_read_is_named_or_passed_over(tmp_path: Path) -> None:
    asked = asked_for(tmp_path, skip=True, predicted=True, count=12)
    (tmp_path / "plain_2.png").write_bytes(b"no picture")
    numbers = explanation_numbers(asked, lambda images, _: images)
    assert numbers["unreadable"] == ["plain_2.png"]
    assert numbers["mapping"]["images"] == len(numbers["shown"]) == 11
    with pytest.raises(UserError, match=r"plain_2.png"):
        explanation_numbers(replace(asked, skip=False), lambda images, _: images)


def test_a_detector_may_look_at_a_part_of_the_images(tmp_path: Path) -> None:
    asked = replace(asked_for(tmp_path, predicted=True, remarks=["of three"]), predicted=(0, 5, 7))
    out = tmp_path / "out"
    out.mkdir()
    numbers = write_explanation(asked, out, lambda images, _: images)
    truth = asked.onlooker.split.truth
    objects = sum(int((~truth.ignored[truth.rows(image)]).sum()) for image in (0, 5, 7))
    assert (numbers["mapping"]["images"], numbers["missed"]["images"]) == (12, 3)
    assert numbers["missed"]["objects"] == objects < numbers["mapping"]["boxes"]
    assert f"of {objects} objects in 3 images were found" in (out / "explain.html").read_text()


def test_telling_images_are_chosen() -> None:
    course = Course.of(20)
    course.unanswered[[3, 17]] = 5, 9
    course.ambiguous[[3, 4, 5]] = 7, 8, 1
    boxes = np.ones(20, dtype=np.int64)
    boxes[:3] = 0
    chosen = chosen_images(course, boxes, 6)
    assert len(chosen) == 6 and chosen[:4] == [17, 3, 4, 5] and min(chosen) == 3
    assert sorted(chosen_images(course, boxes, 30)) == list(range(20))
    course.missed[8] = 1  # what a detector misses counts for more
    assert 8 in chosen_images(course, boxes, 3) and 4 in chosen_images(course, boxes, 3)


def test_levels_have_the_names_of_the_paper() -> None:
    assert [level_name(stride) for stride in (4, 8, 128, 12)] == ["P2", "P3", "P7", "stride 12"]

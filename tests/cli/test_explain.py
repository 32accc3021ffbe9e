"""The label mapping, explained from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.cli.running import FINDING, SMALL, Command, only_run

DRAWN = (*(word for word in SMALL if word.startswith("data.")), "data=shapes", "model=tiny")


def numbers_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "explain.json").read_text())
    return content


def test_without_a_checkpoint_the_mapping_of_the_training_set(
    command: Command, tmp_path: Path
) -> None:
    result = command("explain", *DRAWN, "images=3")
    assert result.code == 0, result.err
    run = only_run(tmp_path)
    assert run.parent.name == "explain"
    assert sorted(file.name for file in run.iterdir()) == ["explain.html", "explain.json"]
    assert "explain.html and explain.json in" in result.out
    numbers = numbers_of(run)
    mapping = numbers["mapping"]
    assert mapping["images"] == 24 and len(numbers["shown"]) == 3 and numbers["missed"] is None
    answered = mapping["boxes"] - mapping["unanswered"]
    assert f"points answer for {answered} of {mapping['boxes']} boxes" in result.out
    methods = {one["value"] for one in numbers["settings"] if one["changed"] == "method"}
    assert {"atss", "retinanet", "ssd", "centernet", "foveabox", "densebox"} <= methods
    assert not {"tal", "dsla", "gfl"} & methods  # which look at predictions
    assert any("with a checkpoint only" in remark for remark in numbers["remarks"])
    # The tiny net's own sizes, as in training.
    assert (
        numbers["settings"][0]["assigner"]["size_ranges"]
        == "[[-1.0, 32.0], [32.0, 64.0], [64.0, inf]]"
    )

    result = command(
        "explain", *DRAWN, "run_dir=other", "method=atss", "model.assigner.per_level=5", "limit=4"
    )
    assert result.code == 0, result.err
    other = numbers_of(tmp_path / "other")
    assert other["method"] == "atss" and other["mapping"]["images"] == 4
    assert other["settings"][0]["assigner"] == {"name": "atss", "per_level": 5, "square": 8.0}
    assert "fcos" in {one["value"] for one in other["settings"]}


@pytest.fixture
def trained(command: Command, tmp_path: Path) -> Path:
    result = command("train", *FINDING, "run_dir=trained", "report=false")
    assert result.code == 0, result.err
    return tmp_path / "trained"


def test_a_checkpoint_explains_what_it_missed(
    command: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = f"ckpt={trained}/checkpoints/best.ckpt"
    figures = json.loads((trained / "metrics.json").read_text())
    result = command("explain", best, "run_dir=a", "images=4", "score_threshold=0.2")
    assert result.code == 0, result.err
    numbers = numbers_of(tmp_path / "a")
    missed = numbers["missed"]
    assert numbers["mapping"]["images"] == 8 and len(numbers["shown"]) == 4
    assert missed["missed"] > 0 and missed["threshold"] == 0.2
    assert f"missed at score 0.2: {missed['missed']} of {missed['objects']}" in result.out
    assert figures["AP"] >= 0
    base = numbers["settings"][0]
    assert (base["shorter_side"], base["method"]) == (64, "fcos")
    methods = {one["value"] for one in numbers["settings"] if one["changed"] == "method"}
    assert {"tal", "dsla", "gfl", "atss", "retinanet"} <= methods

    # Found is what fcos-test finds: the same detections at the same scores.
    stored = json.loads((trained / "predictions.json").read_text())
    for image in numbers["shown"]:
        of_image = sorted(one["score"] for one in stored if one["image_id"] == image["id"])
        kept = sorted(one[2] for one in image["said"]["candidates"] if one[3] == "kept")
        assert len(kept) == len(of_image)
        assert kept == pytest.approx(of_image, abs=2e-3)

    # Another mapping on the same predictions.
    words = ("explain", best, "images=1")
    result = command(*words, "run_dir=b", "model.assigner.center_radius=2.5")
    assert result.code == 0, result.err
    assigner = numbers_of(tmp_path / "b")["settings"][0]["assigner"]
    assert assigner["center_radius"] == 2.5
    assert assigner["size_ranges"] == base["assigner"]["size_ranges"]  # the checkpoint's own
    result = command(*words, "run_dir=c", "method=tal", "split=train")
    assert result.code == 0, result.err
    tal = numbers_of(tmp_path / "c")
    assert tal["settings"][0]["assigner"]["name"] == "tal" and tal["mapping"]["images"] == 24
    assert tal["settings"][0]["target"] == "weight"
    assert any("predicts" in remark for remark in tal["remarks"])

    # Of many images the detector looks at some, and says of how many; the mapping is that of all.
    monkeypatch.setattr("fcos_lightning.runs.explaining.command._LOOKED_AT", 3)
    said = "The detector looked at 3 of 8 images, evenly over the data; limit=8 has it look at all."
    for more, mapped in (((), 8), (("method=tal",), 3), (("limit=8",), 8)):
        result = command(*words, *more, f"run_dir=some{mapped}{len(more)}")
        assert result.code == 0, result.err
        some = numbers_of(tmp_path / f"some{mapped}{len(more)}")
        in_all = more == ("limit=8",)
        assert some["mapping"]["images"] == mapped and (said in result.out) is not in_all
        assert some["missed"]["images"] == (8 if in_all else 3)
        assert (said in some["remarks"]) is not in_all

    for more, said in (
        ("method=retinanet", "method=retinanet"),
        ("model.head.num_convs=3", "the detector comes from the checkpoint"),
        ("files=[nobody.jpg]", "has no such image"),
        ("score_threshold=2", "give a number in [0, 1]"),
        ("split=every", "give auto, train, val or test"),
        ("split=test", "these data have none"),
        ("images=0", "give 1 or more"),
        ("limit=-1", "give 1 or more"),
        ("model.assigner.topk=3", "model.assigner.topk"),
    ):
        result = command(*words, more, "run_dir=none")
        assert result.code == 2 and said in result.err, (more, result.err)
        assert len(result.err.splitlines()) == 1
        assert not (tmp_path / "none/explain.html").exists()


def test_what_is_missing_is_one_line(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "images").mkdir(parents=True)
    entries = []
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        Image.new("RGB", (64, 48), (90 * number, 0, 0)).save(folder / "images" / name)
        entries.append({"id": number, "file_name": name, "width": 64, "height": 48})
    empty: dict[str, Any] = {"images": entries}
    empty |= {"annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    (folder / "train.json").write_text(json.dumps(empty))
    for words, said in (
        (("ckpt=none.ckpt",), "none.ckpt"),
        (("data.root=nowhere",), "nowhere"),
        ((f"data.root={folder}",), "no boxes"),
        ((*DRAWN, "method=dsla"), "give a checkpoint"),
        ((*DRAWN, "imags=3"), "is images meant?"),
        (("ckpt=",), "ckpt"),
    ):
        result = command("explain", *words, "run_dir=out")
        assert result.code == 2 and said in result.err, (words, result.err)
        assert len(result.err.splitlines()) == 1, result.err
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from fcos_lightning import build_fcos, load_detector
from fcos_lightning.checkpoints import Checkpoint, describe
from fcos_lightning.detector import FCOS, FCOSAssigner, FCOSLoss, NMSDecoder
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Detections

TINY = {"name": "tiny", "frozen_stages": 0, "norm": "trained", "widths": [8, 8, 8, 8]}
SMALL = {"backbone": TINY, "fpn": {"channels": 16, "levels": [3, 4]}, "head": {"num_convs": 1}}


class Hostile:
    """Unpickling it would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def written(path: Path, detector: FCOS, **more: object) -> Path:
    state = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    torch.save({"state_dict": state, "fcos": describe(detector, **more)}, path)
    return path


def test_a_detector_comes_back_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    names, ids = ["cat", "dog"], [7, 90]
    before = build_fcos(
        class_names=names, category_ids=ids, decoder={"score_threshold": 0.0}, **SMALL
    ).eval()
    after = load_detector(written(tmp_path / "a.ckpt", before))
    assert not after.training
    assert after.class_names == ("cat", "dog") and after.category_ids == (7, 90)
    images = [torch.randint(0, 255, (3, 40, 50), dtype=torch.uint8)]
    for one, other in zip(before.detect(images), after.detect(images), strict=True):
        assert len(one) == 100
        assert torch.equal(one.boxes_xyxy, other.boxes_xyxy)
        assert torch.equal(one.scores, other.scores)
    fewer = load_detector(tmp_path / "a.ckpt", decoder={"max_detections": 3})
    assert len(fewer.detect(images)[0]) == 3
    json.dumps(after.spec)  # plain data


def test_weights_are_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def download(url: str, **_: object) -> None:
        asked.append(url)
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    net = {"name": "resnet18", "weights": "imagenet"}
    with pytest.raises(UserError, match="could not be downloaded"):
        build_fcos(num_classes=1, **{**SMALL, "backbone": net})
    assert len(asked) == 1
    detector = build_fcos(num_classes=1, **{**SMALL, "backbone": {**net, "weights": None}})
    detector.spec["backbone"] = net  # whatever a file says
    after = load_detector(written(tmp_path / "a.ckpt", detector))
    assert len(asked) == 1
    weights = after.state_dict()
    assert all(torch.equal(weights[key], one) for key, one in detector.state_dict().items())


@pytest.mark.parametrize("place", ["whole", "in state_dict", "in fcos"])
def test_nothing_in_a_file_is_run(tmp_path: Path, place: str) -> None:
    mark, file = tmp_path / "mark", tmp_path / "evil.ckpt"
    bomb = Hostile(mark)
    content: object = {
        "whole": bomb,
        "in state_dict": {"state_dict": {"detector.x": bomb}, "fcos": {"format": 1}},
        "in fcos": {"state_dict": {}, "fcos": {"format": 1, "spec": bomb}},
    }[place]
    torch.save(content, file)
    for open_it in (
        load_detector,
        lambda path: Checkpoint.read(path).start(build_fcos(num_classes=1, **SMALL)),
    ):
        with pytest.raises(
            UserError, match=r"evil\.ckpt: not a readable file of plain data"
        ) as caught:
            open_it(file)
        assert "\n" not in str(caught.value)
    assert not mark.exists()
    with file.open("wb") as handle:  # the same as a bare pickle
        pickle.dump(bomb, handle)
    with pytest.raises(UserError):
        load_detector(file)
    assert not mark.exists()


def test_files_of_other_kinds_are_named(tmp_path: Path) -> None:
    text = tmp_path / "notes.ckpt"
    text.write_text("not a checkpoint")
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {"layer.weight": torch.zeros(2)}}, foreign)
    newer = tmp_path / "newer.ckpt"
    torch.save({"state_dict": {}, "fcos": {"format": 99}}, newer)
    for path, said in (
        (tmp_path / "none.ckpt", "no such file"),
        (tmp_path, "is a folder"),
        (text, "not a readable file"),
        (foreign, "not written by fcos-train"),
        (newer, "format 99"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            load_detector(path)
        assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_their_description_are_refused(tmp_path: Path) -> None:
    detector = build_fcos(num_classes=1, **SMALL)
    state = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    del state["detector.head.scales"]
    state["detector.stranger"] = torch.zeros(1)
    torch.save({"state_dict": state, "fcos": describe(detector)}, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"1 missing \(head.scales\), 1 unknown \(stranger\)"):
        load_detector(tmp_path / "a.ckpt")


def test_a_description_cannot_call_anything(tmp_path: Path) -> None:
    detector = build_fcos(num_classes=1, **SMALL)
    detector.spec["backbone"] = {"_target_": "os.system", "_args_": [f"touch {tmp_path}/mark"]}
    with pytest.raises(UserError):
        load_detector(written(tmp_path / "a.ckpt", detector))
    assert not (tmp_path / "mark").exists()


class OneEach(NMSDecoder):
    """Somebody's own: at most one box an image."""

    def best(self, candidates: Detections, size_hw: torch.Tensor) -> Detections:
        found = super().best(candidates, size_hw)
        return Detections(found.boxes_xyxy[:1], found.scores[:1], found.labels[:1])


class Wider(FCOSAssigner):
    """Somebody's own."""


class Halved(FCOSLoss):
    """Somebody's own."""


OWN: dict[str, Any] = {
    "backbone": lambda: build_fcos(num_classes=1, **SMALL).backbone,
    "decoder": lambda: OneEach(score_threshold=0.0),
    "assigner": Wider,
    "loss": Halved,
}


@pytest.mark.parametrize("key", OWN)
def test_a_part_of_the_users_own_is_asked_for_and_never_replaced(tmp_path: Path, key: str) -> None:
    torch.manual_seed(0)
    detector = build_fcos(num_classes=1, **{**SMALL, key: OWN[key]()})
    file = written(tmp_path / "a.ckpt", detector)
    name = type(getattr(detector, key)).__name__
    with pytest.raises(UserError, match=rf"its {key} is .*{name}, code that .*{key}=") as caught:
        load_detector(file)
    assert "\n" not in str(caught.value)
    again = load_detector(file, **{key: OWN[key]()})
    assert type(getattr(again, key)).__name__ == name
    assert again.spec == detector.spec
    images = [torch.randint(0, 255, (3, 40, 50), dtype=torch.uint8)]
    for one, other in zip(detector.eval().detect(images), again.detect(images), strict=True):
        assert torch.equal(one.boxes_xyxy, other.boxes_xyxy)
    if key == "decoder":
        assert len(again.detect(images)[0]) == 1


def test_options_cannot_stand_for_a_decoder_that_is_missing(tmp_path: Path) -> None:
    file = written(tmp_path / "a.ckpt", build_fcos(num_classes=1, **SMALL, decoder=OneEach()))
    with pytest.raises(UserError, match=r"its decoder is .*OneEach"):
        load_detector(file, decoder={"nms_iou": 0.5})
    assert len(load_detector(file, decoder=NMSDecoder(score_threshold=0.0)).spec) > 0


def test_checkpoints_of_version_0_1_load_with_the_same_detections(tmp_path: Path) -> None:
    torch.manual_seed(0)
    now = build_fcos(
        num_classes=2,
        **SMALL,
        assigner={"center_radius": None},
        decoder={"score_threshold": 0.0, "clip_to": "last_pixel"},
        point_offset=0.0,
        point_spacing="image",
    ).eval()
    state = {f"detector.{key}": value for key, value in now.state_dict().items()}
    spec = {  # as that version wrote it
        "backbone": {**TINY, "weights": None},
        "fpn": {"channels": 16, "levels": [3, 4]},
        "head": {"num_convs": 1},
        "assigner": {"center_radius": None},
        "loss": None,
        "decoder": {"score_threshold": 0.0, "clip_to": "last_pixel"},
        "input": None,
        "num_classes": 2,
        "class_names": None,
        "category_ids": None,
        "point_offset": 0.0,
        "point_spacing": "image",
    }
    torch.save({"state_dict": state, "fcos": {"format": 1, "spec": spec}}, tmp_path / "old.ckpt")
    old = load_detector(tmp_path / "old.ckpt")
    assert (old.grid, old.assigner, old.loss) == (now.grid, now.assigner, now.loss)
    images = [torch.randint(0, 255, (3, 40, 50), dtype=torch.uint8)]
    for one, other in zip(now.detect(images), old.detect(images), strict=True):
        assert len(one) > 0
        assert torch.equal(one.boxes_xyxy, other.boxes_xyxy)
        assert torch.equal(one.scores, other.scores)


def test_starting_from_other_classes_leaves_their_logits_fresh(tmp_path: Path) -> None:
    torch.manual_seed(0)
    old = build_fcos(num_classes=3, **SMALL)
    new = build_fcos(num_classes=5, **SMALL)
    fresh = new.head.cls_logits.weight.clone()
    started = Checkpoint.read(written(tmp_path / "a.ckpt", old)).start(new)
    assert started.fresh == ("head.cls_logits.bias", "head.cls_logits.weight")
    assert torch.equal(new.head.cls_logits.weight, fresh)
    assert torch.equal(new.head.box_ltrb.weight, old.head.box_ltrb.weight)

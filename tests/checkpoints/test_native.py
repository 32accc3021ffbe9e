import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from fcos_lightning import build_fcos, load_detector
from fcos_lightning.checkpoints import describe, initialise
from fcos_lightning.detector import FCOS
from fcos_lightning.errors import UserError

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
        lambda path: initialise(build_fcos(num_classes=1, **SMALL), path),
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
    with pytest.raises(UserError, match=r"missing \['head.scales'\], unknown \['stranger'\]"):
        load_detector(tmp_path / "a.ckpt")


def test_a_description_cannot_call_anything(tmp_path: Path) -> None:
    detector = build_fcos(num_classes=1, **SMALL)
    detector.spec["backbone"] = {"_target_": "os.system", "_args_": [f"touch {tmp_path}/mark"]}
    with pytest.raises(UserError):
        load_detector(written(tmp_path / "a.ckpt", detector))
    assert not (tmp_path / "mark").exists()


def test_a_net_of_the_users_own_asks_for_its_code(tmp_path: Path) -> None:
    own = build_fcos(num_classes=1, **SMALL).backbone
    detector = build_fcos(num_classes=1, **{**SMALL, "backbone": own})
    with pytest.raises(UserError, match=r"its backbone is .*StagedBackbone, code"):
        load_detector(written(tmp_path / "a.ckpt", detector))


def test_starting_from_other_classes_leaves_their_logits_fresh(tmp_path: Path) -> None:
    torch.manual_seed(0)
    old = build_fcos(num_classes=3, **SMALL)
    new = build_fcos(num_classes=5, **SMALL)
    fresh = new.head.cls_logits.weight.clone()
    left = initialise(new, written(tmp_path / "a.ckpt", old))
    assert left == ["head.cls_logits.bias", "head.cls_logits.weight"]
    assert torch.equal(new.head.cls_logits.weight, fresh)
    assert torch.equal(new.head.box_ltrb.weight, old.head.box_ltrb.weight)

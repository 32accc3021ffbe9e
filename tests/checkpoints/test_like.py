"""A detector that is made like that of a checkpoint takes over all of it but its classes."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torchvision.models.detection import fcos_resnet50_fpn

from fcos_lightning import build_detector, load_detector
from fcos_lightning.checkpoints import Checkpoint, build_like, describe
from fcos_lightning.errors import UserError
from fcos_lightning.runs.config.composed import config_dir

TINY = {"name": "tiny", "frozen_stages": 0, "norm": "trained", "widths": [8, 8, 8, 8]}
ODD_INPUT = {"mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0], "channel_order": "bgr"}
IMAGES = [torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)]


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """torchvision's detector: points on corners, other normalisation of distances than ours."""
    torch.manual_seed(0)
    file = tmp_path / "fcos.pth"
    torch.save(fcos_resnet50_fpn(weights=None, weights_backbone=None).state_dict(), file)
    return file


def kept(tmp_path: Path, **parts: object) -> Path:
    torch.manual_seed(0)
    options = {"backbone": TINY, "fpn": {"channels": 16, "levels": [3, 4]}, "input": ODD_INPUT}
    detector = build_detector(class_names=["cat", "dog"], **{**options, **parts})  # type: ignore[arg-type]
    file = tmp_path / "ours.safetensors"
    Checkpoint(file, detector.spec, detector.state_dict(), {}, {}).write(file)
    assert Checkpoint.read(file).spec == describe(detector)["spec"]
    return file


def of_classes(spec: dict[str, object]) -> dict[str, object]:
    return {
        k: v for k, v in spec.items() if k not in ("num_classes", "class_names", "category_ids")
    }


def test_another_projects_detector_predicts_the_same_boxes(foreign: Path) -> None:
    ours = build_like(str(foreign), class_names=["x", "y"]).eval()
    started = Checkpoint.read(foreign).start(ours)
    assert {key.rsplit(".", 1)[0] for key in started.fresh} == {"head.cls_logits"}
    assert ours.class_names == ("x", "y")
    before, after = load_detector(foreign).predict(IMAGES), ours.predict(IMAGES)
    assert torch.equal(before.ltrb_px, after.ltrb_px) and after.cls_logits.shape[-1] == 2
    assert of_classes(ours.spec) == of_classes(load_detector(foreign).spec)


@pytest.mark.parametrize("distances", ["relu", "exp"])
def test_units_and_normalisation_are_its_own(tmp_path: Path, distances: str) -> None:
    file = kept(tmp_path, head={"num_convs": 1, "distances": distances})
    ours = build_like(str(file), class_names=["dog", "cow", "cat"]).eval()
    started = Checkpoint.read(file).start(ours)
    assert set(started.classes) == {"dog", "cat"} and started.fresh == ()
    before, after = load_detector(file).predict(IMAGES), ours.predict(IMAGES)
    assert torch.equal(before.ltrb_px, after.ltrb_px)
    assert torch.equal(before.cls_logits, after.cls_logits[..., [2, 0]])
    assert ours.spec["input"] == ODD_INPUT and ours.spec["head"]["distances"] == distances


def test_options_change_a_part_and_another_part_takes_its_place(tmp_path: Path) -> None:
    file = str(kept(tmp_path, head={"num_convs": 1}))
    like = build_like(file, num_classes=2, decoder={"nms_iou": 0.3}, head={"name": "fcos"})
    assert like.spec["decoder"]["nms_iou"] == 0.3 and like.spec["head"]["num_convs"] == 1
    gfl = {"head": {"name": "distribution"}, "assigner": {"name": "gfl"}}
    other = build_like(file, num_classes=2, loss={"name": "quality_focal"}, **gfl)
    assert other.spec["head"]["name"] == "distribution" and other.spec["head"]["num_convs"] == 4
    assert other.spec["input"] == ODD_INPUT and other.spec["fpn"] == like.spec["fpn"]


METHODS = sorted(file.stem for file in (config_dir() / "method").glob("*.yaml"))


@cache
def of_method(name: str) -> dict[str, Any]:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        model: Any = OmegaConf.to_container(compose("train", [f"method={name}"]).model)
    return {
        k: model[k] for k in ("fpn", "grid", "head", "assigner", "loss", "decoder") if k in model
    }


@pytest.mark.parametrize("before", METHODS)
def test_another_method_is_what_it_is_from_any_start(tmp_path: Path, before: str) -> None:
    def shared(name: str) -> dict[str, Any]:
        parts = of_method(name)
        return {**parts, "fpn": {"channels": 16, **pick(parts, "fpn", "only", "top_down")}}

    def pick(parts: dict[str, Any], key: str, *names: str) -> dict[str, Any]:
        return {name: parts.get(key, {})[name] for name in names if name in parts.get(key, {})}

    file = str(kept(tmp_path, **shared(before)))
    for method in METHODS:
        parts = shared(method)
        given = {**parts, "fpn": pick(parts, "fpn", "only", "top_down")}
        with torch.device("meta"):
            fresh = build_detector(num_classes=2, backbone=TINY, input=ODD_INPUT, **parts)
            like = build_like(file, num_classes=2, **{k: v for k, v in given.items() if v})
        for key in ("head", "assigner", "loss", "decoder", "grid", "fpn"):
            assert like.spec.get(key) == fresh.spec.get(key), f"{before} -> {method}: {key}"


def test_what_is_no_start_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="init_from is missing"):
        build_like(None, num_classes=2)
    detector = build_detector(num_classes=2, backbone=TINY)
    spec = {**detector.spec, "custom": {"head": "mypkg.Head"}}
    file = tmp_path / "own.safetensors"
    Checkpoint(file, spec, detector.state_dict(), {}, {}).write(file)
    with pytest.raises(
        UserError, match=r"its head is mypkg\.Head, code that a checkpoint does not"
    ):
        build_like(str(file), num_classes=2)


def test_it_is_said_where_weights_mean_something_else(foreign: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.read(foreign)
    alike = checkpoint.start(build_like(str(foreign), class_names=["x"]))
    assert alike.otherwise == ()
    resnet = {"name": "resnet50", "norm": "frozen"}
    other = checkpoint.start(
        build_detector(num_classes=91, backbone=resnet, head={"distances": "exp"}, input=ODD_INPUT)
    )
    assert "grid.offset was 0.0, is 0.5" in other.otherwise
    assert "head.distances was relu, is exp" in other.otherwise
    assert "input.channel_order was rgb, is bgr" in other.otherwise and len(other.otherwise) == 5
    (line,) = (line for line in other.notes() if "other settings" in line)
    assert line.endswith("model=as_init takes those of the checkpoint")
    gfl = build_detector(num_classes=91, backbone=resnet, head={"name": "distribution"})
    assert not any("distances" in one for one in checkpoint.start(gfl).otherwise)


def test_it_is_made_on_a_device_without_numbers(tmp_path: Path) -> None:
    file = kept(tmp_path, head={"num_convs": 1})
    with torch.device("meta"):
        like = build_like(str(file), num_classes=2)
    assert all(parameter.is_meta for parameter in like.parameters())
    assert like.spec["head"]["num_convs"] == 1

"""The same outputs and detections as the sources' own code, by scripts/parity.py.

Where that code is not at hand, as plain re-implementations, which are held against it where it is.
"""

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fcos_lightning.errors import UserError

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "parity.py"

GOLDEN = [
    "official_fcos_R_50_FPN_1x",
    "official_fcos_imprv_R_50_FPN_1x",
    "official_fcos_syncbn_bs32_MNV2_FPN_1x",
    "adelaidet_R_50_1x",
    "adelaidet_FCOS_RT_MS_R_50_4x_syncbn",
    "adelaidet_FCOS_RT_MS_DLA_34_4x_syncbn",
    "mmdet_fcos_r50-caffe_fpn_gn-head_1x_coco",
    "mmdet_fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco",
]

#: Further ones: at the top, then those that were read in another way once, then those refused once.
MORE = [
    "adelaidet_FCOS_RT_MS_DLA_34_4x_syncbn_shared_towers_bn_head",
    "adelaidet_MS_V_39_3x",
    "detectron2_fcos_R_50_FPN_1x",
    "mmdet_fcos_r50-dcn-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco",
    "official_fcos_X_101_64x4d_FPN_2x",
    "official_fcos_imprv_dcnv2_R_50_FPN_1x",
    "rosinality_vovnet39",
    "rosinality_vovnet39_padded_once_more",
    "rosinality_vovnet57",
    "failing/detectron2_fcos_R_50_FPN_1x_torchvision_stride",
    "failing/mmdet2_fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco",
    "failing/mmdet_fcos_r50-caffe_fpn_gn-head_1x_coco_extra_on_lateral",
    "failing/mmdet_fcos_r50-caffe_fpn_gn-head_1x_coco_test_cfg",
    "refused/adelaidet_R_50_1x_uneven_towers",
    "refused/detectron2_fcos_R_50_FPN_1x_head_BN",
    "refused/mmdet_fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco_hrnet",
    "refused/mmdet_fcos_r50-dcn-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco"
    "_fallback_on_stride",
    "refused/mmdet_fcos_r50_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco"
    "_resnetv1d",
]


def loaded_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["parity"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


PARITY = loaded_script()
PLAIN = [*PARITY.PUBLISHED, *PARITY.UNPUBLISHED]
REPRESENTATIVE = PARITY.REPRESENTATIVE
RECORDED = json.loads(PARITY.RECORDED.read_text())


@pytest.fixture
def parity() -> ModuleType:
    return PARITY


def check(found: object, at_least: int = 21, limit: float = 1e-3) -> None:
    assert found.cls < limit and found.quality < limit  # type: ignore[attr-defined]
    assert found.ltrb_excess_px < limit  # type: ignore[attr-defined]
    assert found.detections >= at_least and found.unmatched == 0  # type: ignore[attr-defined]


def test_no_golden_file_is_passed_over(parity: ModuleType, shared: Path) -> None:
    for folder, names in (("golden", GOLDEN), ("golden_more", MORE)):
        files = parity.golden_files(shared / folder)
        found = [file.relative_to(shared / folder).with_suffix("") for file in files]
        assert {str(one) for one in found} == set(names)


@pytest.mark.parametrize("name", GOLDEN)
def test_published_models(parity: ModuleType, shared: Path, tmp_path: Path, name: str) -> None:
    if "DLA" in name:
        pytest.importorskip("timm")
    check(parity.compare_golden(shared / "golden" / f"{name}.pt", tmp_path / "a.pth"))


#: The least detections, where detectron2's threshold of .2 lets few pass.
FEW = {MORE[2]: 10, "failing/detectron2_fcos_R_50_FPN_1x_torchvision_stride": 16}


#: Larger nets, of whose kinds there are smaller ones.
LARGE = ("official_fcos_X_101_64x4d_FPN_2x", "rosinality_vovnet57")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in LARGE else []) for n in MORE]
)
def test_further_models(parity: ModuleType, shared: Path, tmp_path: Path, name: str) -> None:
    if any(word in name for word in ("DLA", "resnetv1d", "hrnet")):
        pytest.importorskip("timm")
    at_least = 0 if name.endswith("head_BN") else FEW.get(name, 21)
    found = parity.compare_golden(shared / "golden_more" / f"{name}.pt", tmp_path / "a.pth")
    # Deformable convolutions with random weights amplify rounding.
    check(found, at_least, limit=1e-2 if "dcn" in name else 1e-3)


@pytest.mark.parametrize("name", ["targets_adelaidet_iou", "targets_rosinality"])
def test_label_mapping_and_losses(parity: ModuleType, shared: Path, name: str) -> None:
    found = parity.compare_losses(shared / "golden_more" / f"{name}.pt")
    assert (found.cases, found.losses, found.labels) == (20, 20, 0)
    assert found.loss < 1e-5 and found.gradient < 1e-4


def test_the_wrong_recipe_is_seen(
    parity: ModuleType, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = importlib.import_module("plain_sources.published").RECIPES
    monkeypatch.setitem(recipes, GOLDEN[0], "improved")
    found = parity.compare_golden(shared / "golden" / f"{GOLDEN[0]}.pt", tmp_path / "a.pth")
    assert found.ltrb_px > 1 and found.quality > 0.1 and found.unmatched > 100
    assert found.cls < 1e-3  # a recipe changes nothing there
    monkeypatch.setitem(recipes, GOLDEN[0], "tricks")
    with pytest.raises(UserError, match="recipes are improved, plain, improved-3x3, plain-3x3"):
        parity.compare_golden(shared / "golden" / f"{GOLDEN[0]}.pt", tmp_path / "a.pth")


@pytest.mark.parametrize("size", [(200, 264), (413, 117)])
def test_the_installed_torchvision(
    parity: ModuleType, tmp_path: Path, size: tuple[int, int]
) -> None:
    check(parity.compare_torchvision(*size, tmp_path / "a.pth"))


@pytest.mark.parametrize("version", [0, 1])
def test_the_installed_torchvisions_retinanets(
    parity: ModuleType, tmp_path: Path, version: int
) -> None:
    found = parity.compare_retinanet(parity.RETINANETS[version], tmp_path / "a.pth")
    assert found.quality is None and found.cls < 1e-4 and found.ltrb_excess_px < 1e-3
    assert found.unmatched == 0 and found.detections > 300


def test_every_golden_model_has_a_plain_reimplementation(parity: ModuleType) -> None:
    assert set(parity.GOLDEN) == set(GOLDEN)
    assert {model.config for model in REPRESENTATIVE} > set(GOLDEN)


@pytest.mark.parametrize("name", GOLDEN)
def test_plain_reimplementations_give_what_the_sources_gave(
    parity: ModuleType, shared: Path, name: str
) -> None:
    check(parity.compare_plain_with_golden(shared / "golden" / f"{name}.pt"))


def named(model: object) -> str:
    return f"{model.source} {model.config}"  # type: ignore[attr-defined]


def compared(parity: ModuleType, model: object, checkpoint: Path) -> Any:
    """Compare; the nets of timm only where it is installed."""
    if model.net in ("dla34", "resnet50d"):  # type: ignore[attr-defined]
        pytest.importorskip("timm")
    found = parity.compare_plain(model, checkpoint)
    check(found)
    return found


@pytest.mark.parametrize("model", REPRESENTATIVE, ids=named)
def test_models_as_plain_formulas_have_them_and_as_they_were(
    parity: ModuleType, tmp_path: Path, model: object
) -> None:
    """Files in the sources' layouts, made here: by formulas that share no line with ours.

    The recorded numbers are of our own code. They would show a library that moves both sides.
    """
    found = compared(parity, model, tmp_path / "a.pth")
    assert found.sample == pytest.approx(RECORDED[named(model)], abs=2e-3, rel=1e-4)


def test_every_representative_model_is_recorded() -> None:
    assert list(RECORDED) == [named(model) for model in REPRESENTATIVE]
    assert len({tuple(sample) for sample in RECORDED.values()}) == len(REPRESENTATIVE)


@pytest.mark.slow
@pytest.mark.parametrize("model", [m for m in PLAIN if m not in REPRESENTATIVE], ids=named)
def test_the_other_models_as_plain_formulas_have_them(
    parity: ModuleType, tmp_path: Path, model: object
) -> None:
    compared(parity, model, tmp_path / "a.pth")

"""The same outputs and detections as the sources' own code, by scripts/parity.py.

Where that code is not at hand, as plain re-implementations, which are held against it where it is.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

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

#: One for each thing that configurations have and the golden models lack; the others take minutes.
FAST = (
    "imprv_dcnv2_R_50_FPN_1x",
    "MS_X_101_32x8d_2x_dcnv2(_iou)",
    "MS_V_39_3x",
    "FCOS_RT/MS_DLA_34_4x_syncbn_shared_towers_bn_head",
    "fcos_r50-dcn-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco",
    "fcos_x101-64x4d_fpn_gn-head_ms-640-800-2x_coco",
    "fcos_R_50_FPN_1x",
    "MobileNetV2",
)


def loaded_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["parity"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


PARITY = loaded_script()
PLAIN = [*PARITY.PUBLISHED, *PARITY.UNPUBLISHED]


@pytest.fixture
def parity() -> ModuleType:
    return PARITY


def check(found: object) -> None:
    limit = 1e-3
    assert found.cls < limit and found.quality < limit  # type: ignore[attr-defined]
    assert found.ltrb_excess_px < limit  # type: ignore[attr-defined]
    assert found.detections > 20 and found.unmatched == 0  # type: ignore[attr-defined]


def test_no_golden_file_is_passed_over(parity: ModuleType, shared: Path) -> None:
    assert {file.stem for file in parity.golden_files(shared / "golden")} == set(GOLDEN)


@pytest.mark.parametrize("name", GOLDEN)
def test_published_models(parity: ModuleType, shared: Path, tmp_path: Path, name: str) -> None:
    if "DLA" in name:
        pytest.importorskip("timm")
    check(parity.compare_golden(shared / "golden" / f"{name}.pt", tmp_path / "a.pth"))


def test_the_wrong_recipe_is_seen(
    parity: ModuleType, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(parity.RECIPES, GOLDEN[0], "improved")
    found = parity.compare_golden(shared / "golden" / f"{GOLDEN[0]}.pt", tmp_path / "a.pth")
    assert found.ltrb_px > 1 and found.quality > 0.1 and found.unmatched > 100
    assert found.cls < 1e-3  # a recipe changes nothing there
    monkeypatch.setitem(parity.RECIPES, GOLDEN[0], "tricks")
    with pytest.raises(UserError, match="recipes are improved, plain"):
        parity.compare_golden(shared / "golden" / f"{GOLDEN[0]}.pt", tmp_path / "a.pth")


@pytest.mark.parametrize("size", [(200, 264), (413, 117)])
def test_the_installed_torchvision(
    parity: ModuleType, tmp_path: Path, size: tuple[int, int]
) -> None:
    check(parity.compare_torchvision(*size, tmp_path / "a.pth"))


def test_every_golden_model_has_a_plain_reimplementation(parity: ModuleType) -> None:
    assert set(parity.GOLDEN) == set(GOLDEN)
    assert set(FAST) <= {model.config for model in PLAIN}


@pytest.mark.parametrize("name", GOLDEN)
def test_plain_reimplementations_give_what_the_sources_gave(
    parity: ModuleType, shared: Path, name: str
) -> None:
    check(parity.compare_plain_with_golden(shared / "golden" / f"{name}.pt"))


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(
            model,
            id=f"{model.source}-{model.config}",
            marks=() if model.config in FAST else pytest.mark.slow,
        )
        for model in PLAIN
    ],
)
def test_models_as_plain_formulas_have_them(
    parity: ModuleType, tmp_path: Path, model: object
) -> None:
    if model.net == "dla34":  # type: ignore[attr-defined]
        pytest.importorskip("timm")
    check(parity.compare_plain(model, tmp_path / "a.pth"))

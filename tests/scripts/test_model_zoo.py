"""The page on the model zoo: complete, as the script writes it, and counted right."""

import importlib.util
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fcos_lightning.checkpoints.published import PUBLISHED
from fcos_lightning.layers.deform import DeformableConv2d
from fcos_lightning.runs.config.composed import config_dir

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def zoo() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("model_zoo", ROOT / "scripts" / "model_zoo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["model_zoo"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_recipe_has_a_row(zoo: types.ModuleType) -> None:
    experiments = config_dir() / "experiment"
    recipes = {str(f.relative_to(experiments).with_suffix("")) for f in experiments.glob("*/*")}
    assert set(zoo.PUBLISHED) == recipes
    text = (ROOT / "docs" / "model-zoo.md").read_text(encoding="utf-8")
    for experiment in recipes:
        assert text.count(f"`fcos-train experiment={experiment}` |") == 1


@pytest.mark.parametrize(
    "experiment",
    ["official/imprv_dcnv2_r50_1x", "adelaidet/rt_dla34_shared_4x", "torchvision/r50_26e"],
)
def test_the_page_is_what_the_script_writes(zoo: types.ModuleType, experiment: str) -> None:
    text = (ROOT / "docs" / "model-zoo.md").read_text(encoding="utf-8")
    assert text.startswith(zoo.HEAD)
    assert zoo.line(experiment) in text.splitlines()


def test_every_file_of_a_detector_like_fcos_has_its_row(zoo: types.ModuleType) -> None:
    assert set(zoo.FILES) <= set(zoo.PUBLISHED)
    assert len(set(zoo.FILES.values())) == len(zoo.FILES)
    others = {name for name in PUBLISHED if "retinanet" in name}
    others.add("mmdet/fcos_r101_caffe_fpn_gn-head_1x_coco")  # of which there is no row
    assert set(zoo.FILES.values()) == set(PUBLISHED) - others


@pytest.mark.slow
def test_the_whole_page_is_what_the_script_writes(zoo: types.ModuleType, tmp_path: Path) -> None:
    assert zoo.main(["--out", str(tmp_path / "page.md")]) == 0
    written = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert written == (ROOT / "docs" / "model-zoo.md").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


def test_torchvisions_own_figures(zoo: types.ModuleType) -> None:
    counted = zoo.cost(zoo.configured("torchvision/r50_26e"), classes=91, size_hw=(800, 800))
    # Its published 128.207 and 32,269,600; our five scales of levels stand still there.
    assert counted.multiply_adds / 1e9 == pytest.approx(128.207, rel=0.002)
    assert counted.parameters - 5 == 32_269_600


def test_a_deformable_convolution_counts_as_it_and_what_finds_its_places(
    zoo: types.ModuleType,
) -> None:
    def flops(module: nn.Module) -> int:
        mapping = {torch.ops.torchvision.deform_conv2d: zoo._deformable_flops}
        with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
            module(torch.zeros(2, 8, 9, 7))
        return int(counter.get_total_flops())

    plain = nn.Conv2d(8, 12, 3, 2, 1, groups=2)
    places = nn.Conv2d(8, 27, 3, 2, 1)
    made = DeformableConv2d.starting_as(plain)
    assert flops(made) == flops(plain) + flops(places)


@pytest.mark.parametrize(
    ("shorter", "longer", "size"),
    [(800, 1333, (800, 1088)), (512, 736, (512, 704)), (600, 640, (480, 640))],
)
def test_the_size_of_a_test_image(
    zoo: types.ModuleType, shorter: int, longer: int, size: tuple[int, int]
) -> None:
    assert zoo.test_size(shorter, longer, 32) == size

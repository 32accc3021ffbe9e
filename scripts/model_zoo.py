#!/usr/bin/env python
"""Write docs/model-zoo.md: every recipe of conf/experiment/*/ with what it costs and reached.

Models are built on torch's meta device, where nothing is computed or downloaded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import DictConfig
from torch.utils.flop_counter import FlopCounterMode

from fcos_lightning.detector import FCOS
from fcos_lightning.runs.config.composed import config_dir
from fcos_lightning.runs.objects.instantiate import make
from fcos_lightning.storage.replacing import write_whole

PAGE = Path(__file__).resolve().parents[1] / "docs" / "model-zoo.md"

#: Box AP on COCO val2017 (or minival) as the sources publish it; None where they give none.
PUBLISHED: dict[str, float | None] = {
    "official/r50_1x": 37.1,
    "official/imprv_r50_1x": 38.7,
    "official/imprv_dcnv2_r50_1x": 42.3,
    "official/r101_2x": 41.4,
    "official/imprv_r101_2x": 43.0,
    "official/imprv_dcnv2_r101_2x": 45.6,
    "official/x101_32x8d_2x": 42.5,
    "official/imprv_x101_32x8d_2x": 44.0,
    "official/imprv_dcnv2_x101_32x8d_2x": 46.4,
    "official/x101_64x4d_2x": 43.0,
    "official/imprv_x101_64x4d_2x": 44.7,
    "official/imprv_dcnv2_x101_64x4d_2x": 46.6,
    "official/mnv2_syncbn_bs32_1x": 33.1,
    "official/mnv2_syncbn_bs32_c128_1x": 30.9,
    "official/mnv2_bn_bs16_1x": 31.0,
    "adelaidet/r50_1x": 38.7,
    "adelaidet/r50_1x_iou": 39.4,
    "adelaidet/ms_r50_2x": 41.0,
    "adelaidet/ms_r50_2x_iou": 41.5,
    "adelaidet/ms_r101_2x": 43.1,
    "adelaidet/ms_r101_2x_iou": 43.5,
    "adelaidet/ms_x101_32x8d_2x": 43.9,
    "adelaidet/ms_x101_32x8d_2x_iou": 44.5,
    "adelaidet/ms_x101_64x4d_2x": 44.7,
    "adelaidet/ms_x101_32x8d_dcnv2_2x": 46.6,
    "adelaidet/ms_x101_32x8d_dcnv2_2x_iou": 47.4,
    "adelaidet/ms_vovnet57_3x": None,
    "adelaidet/rt_dla34_4x": 40.3,
    "adelaidet/rt_dla34_shared_4x": 39.1,
    "adelaidet/rt_r50_4x": 40.2,
    "adelaidet/rt_dla34_bn_4x": 39.4,
    "adelaidet/rt_dla34_shared_bn_4x": 38.9,
    "adelaidet/rt_r50_bn_4x": 39.3,
    "mmdet/r50_1x": 36.6,
    "mmdet/r50_tricks_1x": 38.7,
    "mmdet/r50_tricks_dcn_1x": 42.3,
    "mmdet/r50_ms_2x": 38.5,
    "mmdet/r101_ms_2x": 40.8,
    "mmdet/x101_64x4d_ms_2x": 42.6,
    "torchvision/r50_26e": 39.2,
}
#: Which published file each recipe is the training of; other rows have none.
FILES: dict[str, str] = {
    "official/r50_1x": "official/FCOS_R_50_FPN_1x",
    "official/imprv_r50_1x": "official/FCOS_imprv_R_50_FPN_1x",
    "official/imprv_dcnv2_r50_1x": "official/FCOS_imprv_dcnv2_R_50_FPN_1x",
    "official/r101_2x": "official/FCOS_R_101_FPN_2x",
    "official/imprv_r101_2x": "official/FCOS_imprv_R_101_FPN_2x",
    "official/imprv_dcnv2_r101_2x": "official/FCOS_imprv_dcnv2_R_101_FPN_2x",
    "official/x101_32x8d_2x": "official/FCOS_X_101_32x8d_FPN_2x",
    "official/imprv_x101_32x8d_2x": "official/FCOS_imprv_X_101_32x8d_FPN_2x",
    "official/imprv_dcnv2_x101_32x8d_2x": "official/FCOS_imprv_dcnv2_X_101_32x8d_FPN_2x",
    "official/x101_64x4d_2x": "official/FCOS_X_101_64x4d_FPN_2x",
    "official/imprv_x101_64x4d_2x": "official/FCOS_imprv_X_101_64x4d_FPN_2x",
    "official/imprv_dcnv2_x101_64x4d_2x": "official/FCOS_imprv_dcnv2_X_101_64x4d_FPN_2x",
    "official/mnv2_syncbn_bs32_1x": "official/FCOS_syncbn_bs32_MNV2_FPN_1x",
    "official/mnv2_syncbn_bs32_c128_1x": "official/FCOS_syncbn_bs32_c128_MNV2_FPN_1x",
    "official/mnv2_bn_bs16_1x": "official/FCOS_bn_bs16_MNV2_FPN_1x",
    "adelaidet/r50_1x": "adelaidet/FCOS_R_50_1x",
    "adelaidet/ms_r50_2x": "adelaidet/FCOS_MS_R_50_2x",
    "adelaidet/ms_r101_2x": "adelaidet/FCOS_MS_R_101_2x",
    "adelaidet/ms_x101_32x8d_2x": "adelaidet/FCOS_MS_X_101_32x8d_2x",
    "adelaidet/ms_x101_64x4d_2x": "adelaidet/FCOS_MS_X_101_64x4d_2x",
    "adelaidet/ms_x101_32x8d_dcnv2_2x": "adelaidet/FCOS_MS_X_101_32x8d_dcnv2_2x",
    "adelaidet/rt_dla34_4x": "adelaidet/FCOS_RT_MS_DLA_34_4x",
    "adelaidet/rt_dla34_shared_4x": "adelaidet/FCOS_RT_MS_DLA_34_4x_shtw",
    "adelaidet/rt_r50_4x": "adelaidet/FCOS_RT_MS_R_50_4x",
    "adelaidet/rt_dla34_bn_4x": "adelaidet/FCOS_RT_MS_DLA_34_4x_bn",
    "adelaidet/rt_dla34_shared_bn_4x": "adelaidet/FCOS_RT_MS_DLA_34_4x_shtw_bn",
    "adelaidet/rt_r50_bn_4x": "adelaidet/FCOS_RT_MS_R_50_4x_bn",
    "mmdet/r50_1x": "mmdet/fcos_r50_caffe_fpn_gn-head_1x_coco",
    "mmdet/r50_tricks_1x": (
        "mmdet/fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_1x_coco"
    ),
    "mmdet/r50_tricks_dcn_1x": (
        "mmdet/fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_dcn_1x_coco"
    ),
    "mmdet/r50_ms_2x": "mmdet/fcos_r50_caffe_fpn_gn-head_mstrain_640-800_2x_coco",
    "mmdet/r101_ms_2x": "mmdet/fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco",
    "mmdet/x101_64x4d_ms_2x": "mmdet/fcos_x101_64x4d_fpn_gn-head_mstrain_640-800_2x_coco",
    "torchvision/r50_26e": "torchvision/fcos_resnet50_fpn_coco",
}
SOURCES = {
    "official": "Official (tianzhi0549/FCOS)",
    "adelaidet": "AdelaiDet",
    "mmdet": "mmdetection",
    "torchvision": "torchvision",
}
HEAD = """\
# Model zoo

The rows of the published tables, each a recipe in `conf/experiment/`. Written by
`python scripts/model_zoo.py`; change that, not this page.

- **AP** is what the source publishes for COCO val2017 or minival, not what was measured here.
- **Parameters** are of 80 classes; numbers that BatchNorm keeps but does not learn are not counted.
- **GFLOPs** are 10^9 multiply-adds by torch's `FlopCounterMode` (which counts each as two), for an
  image of 4:3 at the row's test size and padded, from normalised pixels to the head's outputs.
  Reading a deformable convolution's places between pixels is not counted.
- **File** is what the source publishes of that training, by the name it is fetched under. Start
  from one, with its net, method and normalisation and with your classes, by
  `fcos-train experiment=finetune_coco init_from=FILE data.root=DIR`. On a processor
  `official/FCOS_syncbn_bs32_c128_MNV2_FPN_1x` suits best, which `finetune_coco` takes unless told
  otherwise, and on a GPU `adelaidet/FCOS_MS_R_50_2x`.
- Rows with DLA or VoVNet need `pip install timm`.
- The official, AdelaiDet's and mmdetection's ResNets start from Caffe's ImageNet models. Put these
  files into `weights/`, below where you run (`model.backbone.weights=PATH` for another place):
  [R-50.pkl](https://dl.fbaipublicfiles.com/detectron2/ImageNetPretrained/MSRA/R-50.pkl),
  [R-101.pkl](https://dl.fbaipublicfiles.com/detectron2/ImageNetPretrained/MSRA/R-101.pkl),
  [X-101-32x8d.pkl](https://dl.fbaipublicfiles.com/detectron2/ImageNetPretrained/FAIR/X-101-32x8d.pkl),
  [X-101-64x4d.pkl](https://dl.fbaipublicfiles.com/detectron/ImageNetPretrained/20171220/X-101-64x4d.pkl).
  Or start from torchvision's, with
  `model.backbone.weights=imagenet model.backbone.stride_on=3x3 model.input=null`.
"""


@dataclass(frozen=True)
class Cost:
    """What a model takes.

    Attributes:
        parameters: learnt or frozen.
        multiply_adds: of one image.
        size_hw: of that image with its padding, in pixels.
    """

    parameters: int
    multiply_adds: int
    size_hw: tuple[int, int]


def configured(experiment: str) -> DictConfig:
    """Return the configuration of a recipe, without weights to start from."""
    overrides = [f"experiment={experiment}", "run_dir=none", "model.backbone.weights=null"]
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        return hydra.compose("train", overrides)


def test_size(shorter: int, longer: int, multiple: int) -> tuple[int, int]:
    """Return height and width of a 640x480 image, resized and padded as in a test."""
    factor = min(shorter / 480, longer / 640)
    height, width = round(480 * factor), round(640 * factor)
    return (-(-height // multiple) * multiple, -(-width // multiple) * multiple)


def cost(config: DictConfig, classes: int = 80, size_hw: tuple[int, int] | None = None) -> Cost:
    """Count a detector's parameters and multiply-adds.

    Args:
        config: of a run.
        classes: number of classes.
        size_hw: of the image; None: the configuration's test size.
    """
    with torch.device("meta"):
        detector = make(config, "model", class_names=[str(index) for index in range(classes)])
    assert isinstance(detector, FCOS)
    detector.eval()
    data = config.data
    size = size_hw or test_size(data.shorter_side, data.longer_side, detector.size_multiple)
    pixels = torch.zeros(1, 3, *size, device="meta")
    deformable = {torch.ops.torchvision.deform_conv2d: _deformable_flops}
    with FlopCounterMode(display=False, custom_mapping=deformable) as counter, torch.no_grad():
        detector.head(detector.fpn(detector.backbone(pixels)))
    return Cost(
        sum(parameter.numel() for parameter in detector.parameters()),
        counter.get_total_flops() // 2,
        size,
    )


def _deformable_flops(
    input: Sequence[int],
    weight: Sequence[int],
    *_: Any,  # noqa: ANN401
    out_shape: Sequence[int],
    **__: Any,  # noqa: ANN401
) -> int:
    """Return the FLOPs of the convolution once its places have been read: shapes in, count out."""
    out_channels, in_channels_of_group, height, width = weight
    places = out_shape[0] * out_shape[2] * out_shape[3]
    return 2 * places * out_channels * in_channels_of_group * height * width


def line(experiment: str) -> str:
    """Return a recipe's row of the table."""
    took, reached = cost(configured(experiment)), PUBLISHED[experiment]
    height, width = took.size_hw
    return (
        f"| {experiment.split('/')[1]} | {took.parameters / 1e6:.1f} M "
        f"| {took.multiply_adds / 1e9:.1f} | {height}x{width} "
        f"| {'not given' if reached is None else reached} | {_file(experiment)} "
        f"| `fcos-train experiment={experiment}` |"
    )


def _file(experiment: str) -> str:
    return f"`{FILES[experiment]}`" if experiment in FILES else "none"


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for source, title in SOURCES.items():
        parts.append(
            f"\n## {title}\n\n| row | parameters | GFLOPs | image | AP | file | command |\n"
            "|---|---|---|---|---|---|---|\n"
        )
        for experiment in PUBLISHED:
            if experiment.startswith(f"{source}/"):
                parts.append(line(experiment) + "\n")
    return "".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PAGE, help="where to (docs/model-zoo.md)")
    out: Path = parser.parse_args(argv).out
    text = page()
    write_whole(text, out)
    print(f"wrote {out}: {len(PUBLISHED)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The published configurations, as facts read from their sources' files."""

from __future__ import annotations

from dataclasses import replace

from plain_sources.detectors import Published
from plain_sources.texts import TRICKS_RGB, resolved

_C345 = (3, 4, 5)
_X32, _X64 = "resnext101_32x8d", "resnext101_64x4d"

#: Those whose own code's outputs are at hand, by the names of the golden files.
GOLDEN = {
    "official_fcos_R_50_FPN_1x": Published("official", "", improved=False),
    "official_fcos_imprv_R_50_FPN_1x": Published("official", ""),
    "official_fcos_syncbn_bs32_MNV2_FPN_1x": Published(
        "official", "", "mobilenet_v2", improved=False
    ),
    "adelaidet_R_50_1x": Published("adelaidet", ""),
    "adelaidet_FCOS_RT_MS_R_50_4x_syncbn": Published("adelaidet", "", levels=3, counted=True),
    "adelaidet_FCOS_RT_MS_DLA_34_4x_syncbn": Published("adelaidet", "", "dla34", levels=3),
    "mmdet_fcos_r50-caffe_fpn_gn-head_1x_coco": Published(
        "mmdet", "", improved=False, counted=True
    ),
    "mmdet_fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco": Published(
        "mmdet", "", counted=True
    ),
}

#: What no tensor tells.
RECIPES = {
    "official_fcos_R_50_FPN_1x": "plain",
    "official_fcos_X_101_64x4d_FPN_2x": "plain",
    "detectron2_fcos_R_50_FPN_1x_torchvision_stride": "improved-3x3",
}

#: The others. Those that differ only in their schedule or loss share a row.
PUBLISHED = (
    Published("official", "imprv_dcnv2_R_50_FPN_1x", stages=_C345, tower_deforms=True),
    Published("official", "R_101_FPN_2x", "resnet101", "plain", improved=False),
    Published("official", "imprv_R_101_FPN_2x", "resnet101"),
    Published(
        "official", "imprv_dcnv2_R_101_FPN_2x", "resnet101", stages=_C345, tower_deforms=True
    ),
    Published("official", "X_101_32x8d_FPN_2x", _X32, "plain", improved=False),
    Published("official", "imprv_X_101_32x8d_FPN_2x", _X32),
    Published("official", "imprv_dcnv2_X_101_32x8d_FPN_2x", _X32, stages=_C345, tower_deforms=True),
    Published("official", "X_101_64x4d_FPN_2x", _X64, "plain", improved=False),
    Published("official", "imprv_X_101_64x4d_FPN_2x", _X64),
    Published("official", "imprv_dcnv2_X_101_64x4d_FPN_2x", _X64, stages=_C345, tower_deforms=True),
    Published(
        "official", "syncbn_bs32_c128_MNV2_FPN_1x", "mobilenet_v2", improved=False, channels=128
    ),
    Published("official", "bn_bs16_MNV2_FPN_1x", "mobilenet_v2", improved=False),
    Published("adelaidet", "R_50_1x_iou, MS_R_50_2x(_iou)", recipe="iou"),
    Published("adelaidet", "MS_R_101_2x(_iou)", "resnet101"),
    Published("adelaidet", "MS_X_101_32x8d_2x(_iou)", _X32),
    Published("adelaidet", "MS_X_101_64x4d_2x", _X64),
    Published(
        "adelaidet", "MS_X_101_32x8d_2x_dcnv2(_iou)", _X32, stages=(4, 5), tower_deforms=True
    ),
    Published("adelaidet", "MS_V_39_3x", "vovnet39"),
    Published("adelaidet", "MS_V_57_3x", "vovnet57"),
    Published("adelaidet", "MS_V_99_3x", "vovnet99"),
    Published(
        "adelaidet", "FCOS_RT/MS_DLA_34_4x_syncbn_shared_towers", "dla34", levels=3, shared=True
    ),
    Published(
        "adelaidet", "FCOS_RT/MS_DLA_34_4x_syncbn_bn_head", "dla34", levels=3, level_norms=True
    ),
    Published(
        "adelaidet",
        "FCOS_RT/MS_DLA_34_4x_syncbn_shared_towers_bn_head",
        "dla34",
        levels=3,
        shared=True,
        level_norms=True,
    ),
    Published(
        "adelaidet", "FCOS_RT/MS_R_50_4x_syncbn_bn_head", levels=3, level_norms=True, counted=True
    ),
    Published(
        "mmdet",
        "fcos_r50-dcn-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco",
        stages=_C345,
        tower_deforms=True,
        counted=True,
    ),
    Published(
        "mmdet", "fcos_r50-caffe_fpn_gn-head_ms-640-800-2x_coco", improved=False, counted=True
    ),
    Published(
        "mmdet",
        "fcos_r101-caffe_fpn_gn-head_ms-640-800-2x_coco",
        "resnet101",
        improved=False,
        counted=True,
    ),
    Published(
        "mmdet",
        "fcos_x101-64x4d_fpn_gn-head_ms-640-800-2x_coco",
        _X64,
        improved=False,
        counted=True,
    ),
    Published("detectron2", "fcos_R_50_FPN_1x"),
)

#: In the sources' layouts, but in none of their tables.
UNPUBLISHED = (
    Published("official", "VoVNet-FCOS V_39_FPN_1x", "vovnet39", improved=False),
    Published("adelaidet", "MobileNetV2", "mobilenet_v2"),
    Published("mmdet", "MobileNetV2", "mobilenet_v2", improved=False),
    Published("mmdet", "R-50 with DCN without masks", stages=_C345, masks=False, counted=True),
    Published("official", "R-50 with DCN without masks", stages=_C345, masks=False),
    Published("adelaidet", "R-50 with DCN without masks", stages=_C345, masks=False),
    Published(
        "mmdet",
        "R-50 with DCN but in the first block",
        stages=_C345,
        counted=True,
        first_ordinary=True,
    ),
    Published(
        "mmdet",
        "R-50, extra levels of the lateral",
        improved=False,
        counted=True,
        p6_from="lateral",
        text=resolved(extra="on_lateral"),
    ),
    Published("mmdet", "ResNetV1d-50", "resnet50d", counted=True, text=TRICKS_RGB),
    Published("official", "R-50, stride in the 3x3", recipe="improved-3x3", on_3x3=True),
    Published("adelaidet", "R-50, towers of 4 and 2", box_convs=2),
    Published("detectron2", "R-50 with BN head", level_norms=True),
    Published("detectron2", "R-50, stride in the 3x3", recipe="improved-3x3", on_3x3=True),
    *(
        Published(
            "rosinality", f"VoVNet-{d}", f"vovnet{d}", improved=False, counted=True, p6_from="c5"
        )
        for d in (39, 57)
    ),
)

#: One for each thing that configurations have and the golden models lack.
_TELLING = {
    "imprv_dcnv2_R_50_FPN_1x",
    "MS_X_101_32x8d_2x_dcnv2(_iou)",
    "MS_V_39_3x",
    "FCOS_RT/MS_DLA_34_4x_syncbn_shared_towers_bn_head",
    "fcos_r50-dcn-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco",
    "fcos_x101-64x4d_fpn_gn-head_ms-640-800-2x_coco",
    "fcos_R_50_FPN_1x",
    "MobileNetV2",
    "R-50 with DCN but in the first block",
    "R-50, extra levels of the lateral",
    "ResNetV1d-50",
    "R-50, towers of 4 and 2",
    "R-50 with BN head",
    "R-50, stride in the 3x3",
    "VoVNet-39",
}

#: What is compared wherever the tests run, and recorded; the other models take minutes.
REPRESENTATIVE = (
    *(replace(m, config=name, recipe=RECIPES.get(name)) for name, m in GOLDEN.items()),
    *(m for m in (*PUBLISHED, *UNPUBLISHED) if m.config in _TELLING),
)

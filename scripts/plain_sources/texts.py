"""Configurations in mmdetection's form, as its files carry them along, of some golden models."""

from __future__ import annotations

#: As since version 3: one file, in which all is resolved.
_RESOLVED = """
default_scope = 'mmdet'
model = dict(
    type='FCOS',
    data_preprocessor=dict(mean=[{mean}], std=[{std}], bgr_to_rgb={rgb}, pad_size_divisor=32),
    backbone=dict(type='{net}', depth=50, norm_eval=True, style='{style}'),
    neck=dict(
        type='FPN', start_level=1, num_outs=5,
        add_extra_convs='{extra}', relu_before_extra_convs=True),
    bbox_head=dict(type='FCOSHead', strides=[8, 16, 32, 64, 128], {head}),
    test_cfg=dict({test}))
"""

_CAFFE = {
    "mean": "102.9801, 115.9465, 122.7717",
    "std": "1.0, 1.0, 1.0",
    "rgb": False,
    "net": "ResNet",
    "style": "caffe",
    "extra": "on_output",
    "head": "loss_bbox=dict(type='IoULoss')",
    "test": "nms_pre=1000, min_bbox_size=0, score_thr=0.05, max_per_img=100, "
    "nms=dict(type='nms', iou_threshold=0.5)",
}

#: As version 2 wrote it: three files, each under its path, the last word about everything last.
_OVERRIDDEN = """/configs/_base_/datasets/coco.py
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(1333, 800), flip=False,
         transforms=[dict(type='Resize', keep_ratio=True), dict(type='Normalize', **img_norm_cfg)])
]
data = dict(samples_per_gpu=2, test=dict(type='CocoDataset', pipeline=test_pipeline))
/configs/fcos/fcos_r50_caffe.py
_base_ = ['../_base_/datasets/coco.py']
model = dict(
    type='FCOS',
    backbone=dict(type='ResNet', depth=50, norm_eval=True, style='caffe'),
    neck=dict(
        type='FPN', start_level=1, num_outs=5,
        add_extra_convs=True, extra_convs_on_inputs=False, relu_before_extra_convs=True),
    bbox_head=dict(type='FCOSHead', strides=[8, 16, 32, 64, 128], loss_bbox=dict(type='IoULoss')))
test_cfg = dict(
    nms_pre=1000, min_bbox_size=0, score_thr=0.05, max_per_img=100,
    nms=dict(type='nms', iou_thr=0.5))
img_norm_cfg = dict(mean=[102.9801, 115.9465, 122.7717], std=[1.0, 1.0, 1.0], to_rgb=False)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(1333, 800), flip=False,
         transforms=[dict(type='Resize', keep_ratio=True), dict(type='Normalize', **img_norm_cfg)])
]
data = dict(samples_per_gpu=4, test=dict(pipeline=test_pipeline))
/configs/fcos/fcos_r101_caffe.py
_base_ = './fcos_r50_caffe.py'
model = dict(pretrained='somewhere', backbone=dict(depth=101))
total_epochs = 24
"""


_V1D = (
    "mmdet_fcos_r50_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco_resnetv1d"
)


def resolved(**other: object) -> str:
    """Return the text of a configuration; without a word, of the plain recipe in caffe style."""
    return _RESOLVED.format(**{**_CAFFE, **other})


#: The tricks recipe in pytorch style.
TRICKS_RGB = resolved(
    mean="123.675, 116.28, 103.53",
    std="58.395, 57.12, 57.375",
    rgb=True,
    net="ResNetV1d",
    style="pytorch",
    head="center_sampling=True, norm_on_bbox=True, centerness_on_reg=True, "
    "loss_bbox=dict(type='GIoULoss')",
    test="nms_pre=1000, min_bbox_size=0, score_thr=0.05, max_per_img=100, "
    "nms=dict(type='nms', iou_threshold=0.6)",
)

#: By the names of the golden files.
TEXTS = {
    "mmdet2_fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco": _OVERRIDDEN,
    "mmdet_fcos_r50-caffe_fpn_gn-head_1x_coco_extra_on_lateral": resolved(extra="on_lateral"),
    "mmdet_fcos_r50-caffe_fpn_gn-head_1x_coco_test_cfg": resolved(
        test="nms_pre=200, min_bbox_size=0, score_thr=0.2, max_per_img=50, "
        "nms=dict(type='nms', iou_threshold=0.5)"
    ),
    _V1D: TRICKS_RGB,
}

"""What a configuration of mmdetection makes of a detector's options."""

import math
from typing import Any

import pytest

from fcos_lightning.checkpoints.config_texts.mmdetection import Settings, Usual, settings_of
from fcos_lightning.errors import UserError

STRIDES = (8, 16, 32, 64, 128)

RAW = """/configs/_base_/datasets/coco.py
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
test_pipeline = [
    dict(type='MultiScaleFlipAug', img_scale=(1333, 800),
         transforms=[dict(type='Normalize', **img_norm_cfg)])]
data = dict(test=dict(pipeline=test_pipeline))
/configs/fcos/base.py
_base_ = '../_base_/datasets/coco.py'
model = dict(
    backbone=dict(type='ResNet', style='pytorch'),
    neck=dict(type='FPN', add_extra_convs=True, extra_convs_on_inputs=False,
              relu_before_extra_convs=True),
    bbox_head=dict(type='FCOSHead', loss_bbox=dict(type='IoULoss', loss_weight=1.0)))
test_cfg = dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05,
                nms=dict(type='nms', iou_thr=0.5), max_per_img=100)
/configs/fcos/tricks.py
_base_ = 'base.py'
img_norm_cfg = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], to_rgb=False)
test_pipeline = [
    dict(type='MultiScaleFlipAug', img_scale=[(736, 512)],
         transforms=[dict(type='Normalize', **img_norm_cfg)])]
data = dict(test=dict(pipeline=test_pipeline))
model = dict(
    backbone=dict(style='caffe'),
    bbox_head=dict(norm_on_bbox=True, centerness_on_reg=True, center_sampling=True,
                   loss_bbox=dict(type='GIoULoss')))
test_cfg = dict(nms=dict(type='nms', iou_thr=0.6), score_thr=0.1, nms_pre=-1, max_per_img=300)
"""


def read(text: str, *, tricks: bool = False, caffe: bool = True, version: str = "") -> Settings:
    return settings_of(text, Usual(tricks, caffe, version, STRIDES))


def test_the_last_word_counts() -> None:
    found = read(RAW)
    assert found.caffe
    assert found.input == {
        "mean": [103.53, 116.28, 123.675],
        "std": [1.0, 1.0, 1.0],
        "channel_order": "bgr",
    }
    assert found.sides == (512, 736)
    assert found.head == {"distances": "relu", "quality_on": "box"}
    assert found.assigner == {"center_radius": 1.5}
    assert found.loss == {"box_loss": "giou", "box_epsilon": "plain", "box_units": "strides"}
    assert found.fpn == {"p6_from": "p5"}
    assert found.decoder == {
        "score": "product",
        "rank_by": "class",
        "nms_iou": 0.6,
        "drop_empty": False,  # the text is of version 2
        "score_threshold": 0.1,
        "topk_per_level": 1_000_000,
        "max_detections": 300,
    }
    base = read(RAW[: RAW.index("/configs/fcos/tricks.py")])
    assert not base.caffe and base.sides == (800, 1333)
    assert base.input is not None and base.input["channel_order"] == "rgb"
    assert base.head["distances"] == "exp" and base.decoder["nms_iou"] == 0.5
    assert "score_threshold" not in base.decoder


def model(**parts: str) -> str:
    return f"model = dict({', '.join(f'{key}=dict({value})' for key, value in parts.items())})"


@pytest.mark.parametrize(
    ("text", "place", "value"),
    [
        ("bbox_head = dict(center_sampling=True, center_sample_radius=2.5)", "assigner", 2.5),
        (model(bbox_head="center_sampling=True"), "assigner", 1.5),
        (model(bbox_head="center_sample_radius=2.5"), "assigner", None),
        (model(bbox_head="norm_on_bbox=True"), "head.distances", "relu"),
        ("norm_on_bbox = True", "head.distances", "relu"),
        (model(bbox_head="centerness_on_reg=True"), "head.quality_on", "box"),
        (model(bbox_head="loss_bbox=dict(type='GIoULoss')"), "loss.box_loss", "giou"),
        (model(bbox_head="loss_bbox=dict(type='CIoULoss')"), "loss.box_loss", "ciou"),
        (model(bbox_head="loss_bbox=dict(type='SomeLoss')"), "loss.box_loss", "iou"),
        (
            model(bbox_head="loss_bbox=dict(type='IoULoss', mode='linear')"),
            "loss.box_loss",
            "linear_iou",
        ),
        (model(bbox_head="loss_cls=dict(alpha=0.5, gamma=1)"), "loss.focal_alpha", 0.5),
        (model(neck="add_extra_convs='on_lateral'"), "fpn.p6_from", "lateral"),
        (model(neck="add_extra_convs='on_lateral'"), "fpn.relu_before_p7", False),
        (model(neck="add_extra_convs='on_input'"), "fpn.p6_from", "c5"),
        (model(neck="add_extra_convs=True"), "fpn.p6_from", "c5"),
        (model(neck="add_extra_convs=True, extra_convs_on_inputs=False"), "fpn.p6_from", "p5"),
        (model(test_cfg="nms=dict(iou_threshold=0.55)"), "decoder.nms_iou", 0.55),
        (model(test_cfg="nms=dict(iou_thr=0.45)"), "decoder.nms_iou", 0.45),
        (model(test_cfg="max_per_img=7"), "decoder.max_detections", 7),
        (model(test_cfg="max_per_img=-1"), "decoder.max_detections", 1_000_000),
        ("score_thr = 0.2", "decoder.score_threshold", 0.2),
        ("style = 'pytorch'", "caffe", False),
        (model(backbone="depth=50"), "caffe", False),
        ("test_pipeline = [dict(type='Resize', scale=(1000, 600))]", "sides", (600, 1000)),
    ],
)
def test_one_option(text: str, place: str, value: object) -> None:
    found: Any = read(text)
    if place == "assigner":
        assert found.assigner == {"center_radius": value}
        return
    for name in place.split("."):
        found = found[name] if isinstance(found, dict) else getattr(found, name)
    assert found == value


def test_what_a_text_does_not_touch_is_the_recipes() -> None:
    said_nothing = read("style = 'pytorch'", tricks=True)
    assert said_nothing.head == {"distances": "relu", "quality_on": "box"}
    assert said_nothing.loss["box_loss"] == "giou" and said_nothing.decoder["nms_iou"] == 0.6
    # A head that says something leaves out what has mmdetection's default.
    plain = read(model(bbox_head="type='FCOSHead'"), tricks=True)
    assert plain.head == {"distances": "exp", "quality_on": "classification"}
    assert plain.assigner == {"center_radius": None} and plain.loss["box_loss"] == "iou"


@pytest.mark.parametrize("ending", ["(512, INF)", "(512, 1e8)", "(512, float('inf'))"])
def test_size_ranges(ending: str) -> None:
    usual = "((-1, 64), (64, 128), (128, 256), (256, 512), (512, INF))"
    text = f"INF = 1e8\nbbox_head = dict(regress_ranges={usual})"
    assert "size_ranges" not in read(text).assigner  # the derived ones
    other = text.replace("64", "48").replace("(512, INF)", ending)
    ranges = [[-1, 48], [48, 128], [128, 256], [256, 512], [512, math.inf]]
    assert read(other).assigner["size_ranges"] == ranges


@pytest.mark.parametrize(
    ("text", "version", "drops"),
    [
        ("", "", True),
        ("", "2.28.2", False),
        ("", "2.0.0+abc", False),
        ("", "3.3.0", True),
        ("total_epochs = 12", "", False),
        (f"total_epochs = 12\n{model(test_cfg='min_bbox_size=0')}", "", False),
        (f"default_scope = 'mmdet'\n{model(test_cfg='min_bbox_size=0')}", "", True),
        (f"default_scope = 'mmdet'\n{model(test_cfg='nms_pre=1000')}", "", False),
        (model(data_preprocessor="mean=None", test_cfg="nms_pre=1000"), "", False),
        (model(test_cfg="nms_pre=1000"), "", True),
        (model(test_cfg="min_bbox_size=-1"), "", False),
    ],
)
def test_boxes_without_area(text: str, version: str, drops: bool) -> None:
    assert read(text, version=version).decoder["drop_empty"] is drops


def test_the_input_is_the_tests() -> None:
    since_3 = model(data_preprocessor="mean=[1, 2, 3], std=[4, 5, 6], bgr_to_rgb=True")
    found = read(f"img_norm_cfg = dict(mean=[9, 9, 9], std=[9, 9, 9])\n{since_3}").input
    assert found == {"mean": [1, 2, 3], "std": [4, 5, 6], "channel_order": "rgb"}
    two = (
        "a = dict(type='Normalize', mean=[1, 2, 3], std=[4, 5, 6], to_rgb=False)\n"
        "b = dict(type='Normalize', mean=[7, 8, 9], std=[4, 5, 6], to_rgb=False)\n"
        "data = dict(train=dict(pipeline=[a]), test=dict(pipeline=[dict(transforms=[b])]))"
    )
    found = read(two).input
    assert found is not None and found["mean"] == [7, 8, 9]
    alone = read("img_norm_cfg = dict(mean=[1, 2, 3], std=[4, 5, 6])").input
    assert alone == {"mean": [1, 2, 3], "std": [4, 5, 6], "channel_order": "rgb"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (model(bbox_head="norm_on_bbox=something()"), "bbox_head.norm_on_bbox .* line 1, is no pl"),
        (model(bbox_head="norm_on_bbox=1"), "bbox_head.norm_on_bbox .* is 1, not True or False"),
        ("model = build()", "model of its configuration, line 1, is no plain value; give a recipe"),
        (model(bbox_head="strides=[4, 8, 16, 32, 64]"), r"strides .* \[8, 16, 32, 64, 128\] here"),
        (model(bbox_head="regress_ranges=[(0, 1)]"), "regress_ranges .* are 1, for 5 levels"),
        (model(bbox_head="regress_ranges=[0, 1, 2, 3, 4]"), "has 0, no two sizes"),
        (model(test_cfg="nms=dict(type='soft_nms')"), "'soft_nms', which no decoder here does"),
        (model(test_cfg="nms=dict(class_agnostic=True)"), "of all classes together"),
        (model(test_cfg="score_thr='x'"), "test_cfg.score_thr .* is 'x', not a number"),
        ("default_scope = ''\n" + model(test_cfg="min_bbox_size=8"), "min_bbox_size .* is 8"),
        (model(neck="add_extra_convs='elsewhere'"), "none of on_input, on_lateral, on_output"),
        ("img_norm_cfg = dict(mean=[1, 2], std=[1, 1, 1])", "mean .*, no three numbers"),
        (model(neck="add_extra_convs='on_input', relu_before_extra_convs='x'"), "not True or Fal"),
    ],
)
def test_what_cannot_be_used_is_said(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        read(text)
    assert "\n" not in str(error.value)

"""What is read from the tensors of each layout's families, and that every key has its place."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.ops import deform_conv2d

from fcos_lightning import build_fcos, load_detector
from fcos_lightning.checkpoints.translation.conventions import Translation
from fcos_lightning.checkpoints.translation.derive import with_masks
from fcos_lightning.checkpoints.translation.foreign import LAYOUTS, translated
from fcos_lightning.detector import NMSDecoder
from fcos_lightning.errors import UserError
from fcos_lightning.layers.deform import DeformableConv2d

Shapes = dict[str, list[int]]
OFFICIAL, ADELAIDET = "official_fcos_imprv_R_50_FPN_1x", "adelaidet_R_50_1x"
REAL_TIME = "adelaidet_FCOS_RT_MS_R_50_4x_syncbn"
MMDET = "mmdet_fcos_r50-caffe_fpn_gn-head_1x_coco"


@pytest.fixture
def shapes(shared: Path) -> Callable[[str], Shapes]:
    def read(name: str) -> Shapes:
        found: Shapes = torch.load(shared / "golden" / f"{name}.pt", weights_only=True)["keys"]
        return found

    return read


def read(shapes: Shapes, recipe: str | None = None, **more: object) -> tuple[str, Translation]:
    weights = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    found = translated({"state_dict": weights, **more}, "a.pth", recipe)
    assert found is not None
    return found


def deformable(shapes: Shapes, conv: str, offset: str, weight: str) -> Shapes:
    """Make the convolutions that match ``conv`` deformable, in a layout's naming."""
    result: Shapes = {}
    for key, shape in shapes.items():
        match = re.fullmatch(rf"({conv})\.(weight|bias)", key)
        if match is None:
            result[key] = shape
            continue
        result[f"{match[1]}{weight}.{key.rsplit('.', 1)[1]}"] = shape
        if key.endswith("weight"):
            result[f"{match[1]}{offset}.weight"] = [27, shape[1], 3, 3]
            result[f"{match[1]}{offset}.bias"] = [27]
    return result


def deeper(shapes: Shapes, block: str) -> Shapes:
    """R-50 to R-101: the third stage has 23 blocks."""
    result = dict(shapes)
    for key, shape in shapes.items():
        for number in range(6, 23):
            if key.startswith(f"{block}.5."):
                result[key.replace(f"{block}.5.", f"{block}.{number}.")] = shape
    return result


def grouped(shapes: Shapes, block: str, groups: int, width: int) -> Shapes:
    """ResNet to ResNeXt: other widths within the bottlenecks."""
    result = {}
    for key, shape in shapes.items():
        match = re.match(rf"{block}(\d)\.\d+\.(conv|bn)([123])", key)
        result[key] = shape
        if match and shape:
            inner = shape[0] * groups * width // 64
            before = shape[1] * groups * width // 64 if len(shape) == 4 else 0
            if match[3] == "1":
                result[key] = [inner, *shape[1:]]
            elif match[3] == "2":
                result[key] = [inner, before // groups, 3, 3] if len(shape) == 4 else [inner]
            elif len(shape) == 4:
                result[key] = [shape[0], before, 1, 1]
    return result


def test_official_families(shapes: Callable[[str], Shapes]) -> None:
    plain = shapes(OFFICIAL)
    name, found = read(plain)
    assert name == "official" and found.spec["backbone"]["stride_on"] == "1x1"
    assert found.spec["head"]["distances"] == "relu" and found.spec["category_ids"][-1] == 90
    dcn = deformable(plain, r".*layer[234]\.\d+\.conv2", ".offset", ".conv")
    dcn = deformable(dcn, r"rpn\.head\.\w+_tower\.9", ".offset", ".conv")
    spec = read(dcn)[1].spec
    assert spec["backbone"]["deformable_stages"] == [3, 4, 5] and spec["head"]["deformable"]
    r101 = deeper(plain, "backbone.body.layer3")
    assert read(r101)[1].spec["backbone"]["name"] == "resnet101"
    for groups, width in ((32, 8), (64, 4)):
        resnext = grouped(r101, r"backbone\.body\.layer", groups, width)
        backbone = read(resnext, "plain")[1].spec["backbone"]
        assert backbone["name"] == f"resnext101_{groups}x{width}d"
        assert backbone["stride_on"] == "3x3"
    mnv2 = shapes("official_fcos_syncbn_bs32_MNV2_FPN_1x")
    assert read(mnv2)[1].spec["head"]["distances"] == "exp"
    assert read(mnv2, "improved")[1].spec["head"]["distances"] == "relu"


def test_adelaidet_families(shapes: Callable[[str], Shapes]) -> None:
    plain = shapes(ADELAIDET)
    name, found = read(plain, "iou")
    assert name == "adelaidet" and found.spec["loss"]["quality"] == "iou"
    assert found.sides == (800, 1333) and found.spec["fpn"]["levels"] == [3, 4, 5, 6, 7]
    # There the convolution keeps its name, and its offsets lie beside it.
    dcn = deformable(plain, r".*res[345]\.\d+\.conv2", "_offset", "")
    dcn = deformable(dcn, r".*fcos_head\.\w+_tower\.9", ".offset", ".conv")
    spec = read(dcn)[1].spec
    assert spec["backbone"]["deformable_stages"] == [3, 4, 5] and spec["head"]["deformable"]
    with_input = {**plain, "pixel_mean": [3, 1, 1], "pixel_std": [3, 1, 1]}
    weights = {k: torch.zeros(s) for k, s in with_input.items() if "pixel" in k}
    weights |= {k: torch.empty(s, device="meta") for k, s in plain.items()}
    found_input = translated({"model": weights}, "a.pth")
    assert found_input is not None and found_input[1].spec["input"]["mean"] == [0, 0, 0]

    real_time = shapes(REAL_TIME)
    found = read(real_time)[1]
    assert found.sides == (512, 736) and found.spec["fpn"]["levels"] == [3, 4, 5]
    assert found.spec["backbone"]["norm"] == "trained"
    shared_towers: Shapes = {k: v for k, v in real_time.items() if "_tower." not in k}
    tower = "proposal_generator.fcos_head.share_tower"
    for layer in (0, 3, 6, 9):
        shared_towers |= {
            f"{tower}.{layer}.weight": [256, 256, 3, 3],
            f"{tower}.{layer}.bias": [256],
        }
        for level in range(3):
            for leaf in ("weight", "bias", "running_mean", "running_var"):
                shared_towers[f"{tower}.{layer + 1}.{level}.{leaf}"] = [256]
            shared_towers[f"{tower}.{layer + 1}.{level}.num_batches_tracked"] = []
    head = read(shared_towers)[1].spec["head"]
    assert (head["shared_convs"], head["num_convs"], head["norm"]) == (4, 0, "batch")


def test_mmdet_families(shapes: Callable[[str], Shapes]) -> None:
    plain = shapes(MMDET)
    head = read(plain)[1].spec["head"]
    assert (head["distances"], head["tower_bias"]) == ("exp", False)
    dcn = deformable(plain, r".*layer[234]\.\d+\.conv2", ".conv_offset", "")
    dcn = deformable(dcn, r"bbox_head\.\w+_convs\.3\.conv", ".conv_offset", "")
    spec = read(dcn, "tricks")[1].spec
    assert spec["backbone"]["deformable_stages"] == [3, 4, 5] and spec["head"]["deformable"]
    assert spec["decoder"]["nms_iou"] == 0.6 and spec["input"]["mean"][0] == 103.53
    # mmcv's first modulated convolutions have their offsets beside them.
    beside = {key.replace(".conv_offset.", "_offset."): shape for key, shape in dcn.items()}
    assert beside != dcn and read(beside, "tricks")[1].spec == spec
    older = {re.sub(r"\.conv_(cls|reg|centerness)", r".fcos_\1", k): v for k, v in plain.items()}
    assert older != plain and read(older)[1].spec == read(plain)[1].spec
    resnext = grouped(deeper(plain, "backbone.layer3"), r"backbone\.layer", 64, 4)
    spec = read(resnext)[1].spec
    assert spec["backbone"]["name"] == "resnext101_64x4d" and spec["input"] is None


CONFIG = """
data_preprocessor = dict(bgr_to_rgb=True, mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375])
model = dict(backbone=dict(depth=50, style='pytorch'), bbox_head=dict(centerness_on_reg=True,
    norm_on_bbox=True, loss_bbox=dict(type='GIoULoss'), center_sampling=True, conv_bias=True),
    test_cfg=dict(nms=dict(iou_threshold=0.55, type='nms'), nms_pre=1000))
"""


def test_mmdet_files_say_how_they_were_made(shapes: Callable[[str], Shapes]) -> None:
    plain = shapes(MMDET)
    names = tuple(f"class {number}" for number in range(80))
    for meta in (
        {"config": CONFIG, "CLASSES": names},
        {"cfg": CONFIG, "dataset_meta": {"classes": names}},
    ):
        spec: dict[str, Any] = read(plain, meta=meta)[1].spec
        assert spec["backbone"]["stride_on"] == "3x3"
        assert spec["input"]["channel_order"] == "rgb" and spec["input"]["std"][0] == 58.395
        assert (spec["head"]["distances"], spec["head"]["quality_on"]) == ("relu", "box")
        assert spec["decoder"]["nms_iou"] == 0.55 and spec["assigner"]["center_radius"] == 1.5
        assert spec["loss"]["box_loss"] == "giou" and spec["class_names"] == list(names)
        assert read(plain, "plain", meta=meta)[1].spec["head"]["distances"] == "exp"


def test_detectron2(shapes: Callable[[str], Shapes]) -> None:
    def renamed(key: str) -> str:
        for old, new in (
            ("proposal_generator.fcos_head.", "head."),
            ("head.cls_tower", "head.cls_subnet"),
            ("head.bbox_tower", "head.bbox_subnet"),
            ("head.cls_logits", "head.cls_score"),
        ):
            key = key.replace(old, new)
        return key

    given = {renamed(k): v for k, v in shapes(ADELAIDET).items() if ".scales." not in k}
    name, found = read(given)
    assert name == "detectron2" and not found.spec["head"]["level_scales"]
    assert found.weights["head.scales"].tolist() == [1] * 5
    assert found.spec["decoder"]["threshold_on"] == "score"


def test_detectron2s_stride_and_norms(shapes: Callable[[str], Shapes]) -> None:
    plain = {
        re.sub(r"proposal_generator.fcos_head.", "head.", key): shape
        for key, shape in shapes(ADELAIDET).items()
        if ".scales." not in key
    }
    for old, new in (("cls_tower", "cls_subnet"), ("bbox_tower", "bbox_subnet")):
        plain = {key.replace(f"head.{old}", f"head.{new}"): v for key, v in plain.items()}
    plain = {key.replace("head.cls_logits", "head.cls_score"): v for key, v in plain.items()}
    assert read(plain)[1].spec["backbone"]["stride_on"] == "1x1"
    assert read(plain, "improved-3x3")[1].spec["backbone"]["stride_on"] == "3x3"
    with pytest.raises(UserError, match="recipes are improved, improved-3x3"):
        read(plain, "plain-3x3")
    # Statistics for each level, one affine map for all.
    of_levels = dict(plain)
    for subnet in ("cls_subnet", "bbox_subnet"):
        for place in (1, 4, 7, 10):
            for level in range(5):
                at = f"head.{subnet}.{place}.{level}"
                of_levels |= {f"{at}.running_mean": [256], f"{at}.running_var": [256]}
    weights = {k: torch.randn(v) if "subnet.1." in k else torch.empty(v, device="meta")
               for k, v in of_levels.items()}  # fmt: skip
    found = translated({"model": weights}, "a.pth")
    assert found is not None and found[1].spec["head"]["norm"] == "batch"
    for level in range(5):
        ours = found[1].weights[f"head.cls_tower.1.{level}.weight"]
        assert torch.equal(ours, weights["head.cls_subnet.1.weight"])


@pytest.mark.parametrize(
    ("mean", "order"),
    [([123.675, 116.28, 103.53], "rgb"), ([103.53, 116.28, 123.675], "bgr"), ([128.0] * 3, "bgr")],
)
def test_the_order_of_channels_is_that_of_the_means(
    shapes: Callable[[str], Shapes], mean: list[float], order: str
) -> None:
    weights = {k: torch.empty(s, device="meta") for k, s in shapes(ADELAIDET).items()}
    weights |= {"pixel_mean": torch.tensor(mean).view(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)}
    found = translated({"model": weights}, "a.pth", "centerness-3x3")
    assert found is not None and found[1].spec["input"]["channel_order"] == order
    assert found[1].spec["backbone"]["stride_on"] == "3x3"
    assert found[1].spec["loss"]["quality"] == "centerness"


def test_the_official_nms_counts_pixels_inclusively(shapes: Callable[[str], Shapes]) -> None:
    for recipe in (None, "plain", "improved-3x3"):
        spec = read(shapes(OFFICIAL), recipe)[1].spec
        assert spec["decoder"]["nms_sides"] == "inclusive"
        assert spec["head"]["distances"] == ("exp" if recipe == "plain" else "relu")
    assert read(shapes(OFFICIAL), "plain-3x3")[1].spec["backbone"]["stride_on"] == "3x3"
    assert "nms_sides" not in read(shapes(ADELAIDET))[1].spec["decoder"]


def test_bottlenecks_that_are_not_deformable_like_their_neighbours(
    shapes: Callable[[str], Shapes],
) -> None:
    dcn = deformable(shapes(MMDET), r".*layer[234]\.\d+\.conv2", ".conv_offset", "")
    without = {k: v for k, v in dcn.items() if "layer2.0.conv2.conv_offset" not in k}
    assert len(dcn) - len(without) == 2
    made = {k: torch.ones(v) if "layer2." in k and "conv2" in k else torch.empty(v, device="meta")
            for k, v in without.items()}  # fmt: skip
    found = translated({"state_dict": made}, "a.pth")
    assert found is not None
    assert found[1].spec["backbone"] == read(dcn)[1].spec["backbone"]
    at = "backbone.stages.2.0.conv2"
    assert (found[1].weights[f"{at}.weight"] == 2).all()  # for masks of 1/2
    assert not found[1].weights[f"{at}.offset.weight"].any()
    assert found[1].weights[f"{at}.offset.weight"].shape == (27, 128, 3, 3)


def test_texts_reach_every_part(shapes: Callable[[str], Shapes]) -> None:
    text = """model = dict(
        neck=dict(add_extra_convs='on_lateral', relu_before_extra_convs=False),
        bbox_head=dict(regress_ranges=((-1, 9), (9, 99), (99, 256), (256, 512), (512, 1e8))),
        test_cfg=dict(score_thr=0.2, max_per_img=50, nms_pre=200, nms=dict(iou_threshold=0.4)))
    test_pipeline = [dict(type='Resize', scale=(1000, 600), keep_ratio=True)]
    """.replace("\n    ", "\n")
    meta = {"config": text, "mmdet_version": "2.28.2"}
    found = read(shapes(MMDET), meta=meta)[1]
    with torch.device("meta"):
        detector = build_fcos(**found.spec)
    assert detector.fpn.p6_from == "lateral" and not detector.fpn.relu_before_p7
    assert detector.assigner.size_ranges[0] == (-1.0, 9.0)  # type: ignore[attr-defined]
    decoder = detector.decoder
    assert isinstance(decoder, NMSDecoder) and not decoder.drop_empty
    assert (decoder.score_threshold, decoder.max_detections) == (0.2, 50)
    assert (decoder.topk_per_level, decoder.nms_iou) == (200, 0.4)
    assert found.sides == (600, 1000)
    # A recipe is taken in place of the text, not of what wrote the file.
    spec = read(shapes(MMDET), "plain", meta=meta)[1].spec
    assert "size_ranges" not in spec["assigner"] and not spec["decoder"]["drop_empty"]
    with pytest.raises(UserError, match=r"a\.pth, of the mmdet layout: .*line 1"):
        read(shapes(MMDET), meta={"config": "model = ("})
    assert read(shapes(MMDET), "plain", meta={"config": "model = ("})[1].sides == (800, 1333)


def test_averaged_weights_of_mmdet_come_in_twice(shapes: Callable[[str], Shapes]) -> None:
    plain = shapes(MMDET)
    weights = {key: torch.empty(shape, device="meta") for key, shape in plain.items()}
    # mmcv 1's hook keeps the other set as buffers of the model.
    both = weights | {f"ema_{key.replace('.', '_')}": value for key, value in weights.items()}
    found = translated({"state_dict": both}, "a.pth")
    assert found is not None
    assert all(found[1].weights[k] is v for k, v in read(plain)[1].weights.items() if k in both)
    with pytest.raises(UserError, match="1 keys are unknown: ema_backbone_odd_weight"):
        read({**plain, "ema_backbone_odd_weight": [1]})
    # mmengine's hook swaps the sets as it saves, and keeps the other one beside the model.
    kept = {"module." + key: value for key, value in weights.items()}
    content = {"state_dict": weights, "ema_state_dict": {**kept, "steps": torch.zeros(1)}}
    assert translated(content, "a.pth") is not None


def test_heads_without_norms_are_no_trick(shapes: Callable[[str], Shapes]) -> None:
    # mmdetection's conv_bias is "auto": where there is no norm, there is a bias.
    bare = {k: v for k, v in shapes(MMDET).items() if ".gn." not in k}
    for tower in ("cls", "reg"):
        bare |= {f"bbox_head.{tower}_convs.{index}.conv.bias": [256] for index in range(4)}
    spec = read(bare)[1].spec
    assert (spec["head"]["norm"], spec["head"]["distances"]) == ("none", "exp")
    assert read(bare, "tricks")[1].spec["head"]["distances"] == "relu"


def test_groups_of_one_channel_are_refused(shapes: Callable[[str], Shapes]) -> None:
    # 32 groups in towers of 32 channels; ours have 16 there, which would give other numbers.
    narrow = {
        key: [32 if size == 256 and not key.startswith("backbone.body") else size for size in shape]
        for key, shape in shapes(OFFICIAL).items()
    }
    with pytest.raises(UserError, match="32 groups of one channel"):
        read(narrow)


def test_offsets_without_masks_look_at_the_same_places_with_equal_weights() -> None:
    torch.manual_seed(0)
    image, weight = torch.randn(2, 4, 9, 7), torch.randn(6, 4, 3, 3)
    plain = {
        "a.weight": weight,
        "a.offset.weight": torch.randn(18, 4, 3, 3) / 9,
        "a.offset.bias": torch.randn(18),
    }
    expected = deform_conv2d(
        image,
        torch.nn.functional.conv2d(image, plain["a.offset.weight"], plain["a.offset.bias"], 1, 1),
        weight,
        padding=1,
    )
    made = DeformableConv2d(4, 6, 3, padding=1, bias=False)
    made.load_state_dict({k.removeprefix("a."): v for k, v in with_masks(plain).items()})
    assert torch.equal(made(image), expected)
    assert with_masks({"b.offset.weight": torch.zeros(())}).keys() == {"b.offset.weight"}


@pytest.mark.parametrize("name", [OFFICIAL, ADELAIDET, MMDET])
def test_every_key_is_accounted_for(shapes: Callable[[str], Shapes], name: str) -> None:
    given = shapes(name)
    head = next(key for key in given if "cls_logits.bias" in key or "conv_cls.bias" in key)
    tower = next(key for key in given if "tower.3.weight" in key or "cls_convs.1.conv.w" in key)
    with pytest.raises(UserError, match=r"a\.pth, of the \w+ layout: .*head\.cls_logits\.bias"):
        read({key: shape for key, shape in given.items() if key != head})
    with pytest.raises(UserError, match=r"2 keys are unknown: backbone\.odd, neck\.odd"):
        read({**given, "neck.odd": [1], "backbone.odd": [1]})
    with pytest.raises(UserError, match=r"of another shape: head\.cls_tower\.3\.weight"):
        read({**given, tower: [256, 255, 3, 3]})


def test_layouts_exclude_each_other(shapes: Callable[[str], Shapes]) -> None:
    for name in (OFFICIAL, ADELAIDET, MMDET):
        assert sum(layout.recognises(shapes(name)) for layout in LAYOUTS) == 1
    assert translated({"model": {"a.weight": torch.zeros(1)}}, "a.pth") is None


def test_recipes_of_our_own_files_are_refused(tmp_path: Path) -> None:
    from fcos_lightning.checkpoints import describe

    detector = build_fcos(num_classes=1, backbone={"name": "tiny", "frozen_stages": 0})
    state = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    torch.save({"state_dict": state, "fcos": describe(detector)}, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="says itself how it was made"):
        load_detector(tmp_path / "a.ckpt", recipe="plain")

"""The whole detector: images of any size in, boxes of the same image out."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from fcos_lightning.detector import FCOS, build_fcos
from fcos_lightning.structures import Detections, Images, Target

SIZES = [(64, 64), (1, 1), (5, 7), (33, 90), (40, 31)]


def small(**options: Any) -> FCOS:
    """A detector that finds something in noise: lively weights, a low threshold."""
    torch.manual_seed(0)
    chosen: dict[str, Any] = {
        "num_classes": 3,
        "backbone": {"name": "tiny", "widths": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
        "fpn": {"channels": 16},
        "head": {"num_convs": 1, "prior": 0.1},
        **options,
    }
    detector = build_fcos(**chosen)
    with torch.no_grad():
        for part in (detector.head.cls_logits, detector.head.box_ltrb):
            part.weight.normal_(std=0.1)
        detector.head.box_ltrb.bias.fill_(1.0)
    return detector.eval()


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


def assert_same(got: Detections, wanted: Detections) -> None:
    assert torch.equal(got.labels, wanted.labels)
    torch.testing.assert_close(got.boxes_xyxy, wanted.boxes_xyxy, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(got.scores, wanted.scores, rtol=1e-4, atol=1e-5)


def test_images_of_any_size() -> None:
    detector = small()
    images = [noise(*size) for size in SIZES]
    prediction = detector.predict(images)
    points = detector.grid((64, 96))
    # 8x12, 4x6, 2x3, 1x2 and 1x1 points.
    assert len(points.xy) == 96 + 24 + 6 + 2 + 1
    assert prediction.cls_logits.shape == (5, 129, 3)
    assert prediction.ltrb_px.shape == (5, 129, 4)
    assert prediction.quality_logits.shape == (5, 129)
    found = detector.detect(images)
    assert len(found) == 5
    for detections, (height, width) in zip(found, SIZES, strict=True):
        assert len(detections) > 0
        boxes = detections.boxes_xyxy
        assert (boxes >= 0).all()
        assert (boxes[:, 0::2] <= width).all()
        assert (boxes[:, 1::2] <= height).all()
        assert (detections.scores.diff() <= 0).all()


def test_a_training_step_reads_as_in_the_paper() -> None:
    detector = small(backbone={"name": "tiny", "norm": "trained", "frozen_stages": 0}).train()
    images = detector.collate([noise(60, 90), noise(64, 70)])
    targets = [
        Target(torch.tensor([[5.0, 5, 50, 40]]), torch.tensor([2])),
        Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
    ]
    points = detector.grid(images)
    prediction = detector(images)
    assignment = detector.assign(points, targets)
    losses = detector.loss(prediction, assignment, points)
    assert assignment.labels.unique().tolist() == [-1, 2]
    assert losses.total.isfinite()
    losses.total.backward()
    gradients = {name: parameter.grad for name, parameter in detector.named_parameters()}
    assert all(g is not None and g.isfinite().all() for g in gradients.values())


def test_a_batch_without_any_box_gives_every_parameter_a_gradient() -> None:
    detector = small(backbone={"name": "tiny", "norm": "trained", "frozen_stages": 0}).train()
    images = detector.collate([noise(64, 64), noise(64, 64, seed=1)])
    none = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    points = detector.grid(images)
    losses = detector.loss(detector(images), detector.assign(points, [none, none]), points)
    assert (losses.terms["box"].item(), losses.terms["quality"].item()) == (0, 0)
    losses.total.backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (5, 7), (33, 95)])
def test_alone_or_in_a_batch_of_the_same_padded_size(size: tuple[int, int]) -> None:
    detector = small()
    image = noise(*size)
    padded = tuple(math.ceil(side / 32) * 32 for side in size)
    # Every other image of the batch is of full size, and full of other noise.
    others = [noise(*padded, seed=seed) for seed in (1, 2)]
    (alone,) = detector.detect([image])
    first, *_ = detector.detect([image, *others])
    *_, last = detector.detect([*others, image])
    assert len(alone) > 0
    assert_same(first, alone)
    assert_same(last, alone)


def test_the_batch_size_changes_nothing() -> None:
    detector = small()
    images = [noise(64, 64, seed) for seed in range(4)]
    together = detector.predict(images)
    for row, image in enumerate(images):
        alone = detector.predict([image])
        for part in ("cls_logits", "ltrb_px", "quality_logits"):
            torch.testing.assert_close(
                getattr(alone, part)[0], getattr(together, part)[row], rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_normalisation_by_hand_and_zero_padding(order: str) -> None:
    mean, std = [10.0, 20.0, 30.0], [2.0, 4.0, 5.0]
    detector = small(input={"mean": mean, "std": std, "channel_order": order})
    images = [noise(5, 7), noise(40, 33, seed=1)]
    batch = detector.collate(images)
    # What lies outside an image is arbitrary by contract: fill it.
    dirty = Images(batch.pixels.clone(), batch.sizes_hw)
    for pixels, image in zip(dirty.pixels, images, strict=True):
        height, width = image.shape[-2:]
        pixels[:, height:, :] = 255
        pixels[:, :, width:] = 255
    normal = detector.normalise(dirty)
    assert normal.dtype == torch.float32
    assert normal.shape == (2, 3, 64, 64)
    for row, image in zip(normal, images, strict=True):
        height, width = image.shape[-2:]
        assert (row[:, height:] == 0).all()
        assert (row[:, :, width:] == 0).all()
        for channel in range(3):
            source = image[channel if order == "rgb" else 2 - channel].float()
            torch.testing.assert_close(
                row[channel, :height, :width], (source - mean[channel]) / std[channel]
            )
    assert_same(*(detector.decode(detector(b), detector.grid((64, 64)), b.sizes_hw)[0]
                  for b in (dirty, batch)))  # fmt: skip


@pytest.mark.parametrize("mean", [[0, 0, 0], [104, 117, 123]])
def test_integer_means_as_yaml_gives_them(mean: list[int]) -> None:
    detector = small(input={"mean": mean, "std": [1, 1, 1], "channel_order": "bgr"})
    batch = detector.collate([noise(32, 32)])
    normal = detector.normalise(batch)
    assert normal.dtype == torch.float32
    expected = batch.pixels.flip(1).float() - torch.tensor(mean).view(3, 1, 1)
    assert torch.equal(normal, expected)
    assert len(detector.detect([noise(32, 32)])) == 1


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(3, 8, 8),
        torch.zeros(3, 8, 8, dtype=torch.int64),
        torch.zeros(1, 8, 8, dtype=torch.uint8),
        torch.zeros(4, 8, 8, dtype=torch.uint8),
        torch.zeros(8, 8, 3, dtype=torch.uint8),
        torch.zeros(8, 8, dtype=torch.uint8),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(3, 0, 8, dtype=torch.uint8),
        torch.zeros(3, 8, 0, dtype=torch.uint8),
    ],
)
@pytest.mark.parametrize("verb", ["predict", "detect"])
def test_images_of_a_wrong_kind(verb: str, image: Tensor) -> None:
    detector = small()
    with pytest.raises(ValueError, match=r"expected RGB uint8 images \[3, H, W\], got"):
        getattr(detector, verb)([torch.zeros(3, 8, 8, dtype=torch.uint8), image])


def test_no_image_at_all() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        small().detect([])


def test_nothing_found_is_an_ordinary_answer() -> None:
    for detections in small(decoder={"score_threshold": 1.0}).detect([noise(32, 32)] * 2):
        assert detections.boxes_xyxy.shape == (0, 4)
        assert detections.labels.dtype == torch.int64


def test_points_fit_the_maps_of_any_padded_size() -> None:
    detector = small()
    for size in ((32, 32), (96, 160), (50, 70), (1, 1)):
        images = Images(torch.zeros(1, 3, *size, dtype=torch.uint8), torch.tensor([size]))
        with torch.no_grad():
            assert detector(images).cls_logits.shape[1] == len(detector.grid(size).xy)


def test_the_offset_of_points_moves_boxes() -> None:
    at_half, at_zero = small(), small(point_offset=0.0)
    shift = at_half.grid((32, 32)).xy - at_zero.grid((32, 32)).xy
    assert torch.equal(shift, at_half.grid((32, 32)).stride[:, None].expand(-1, 2) / 2)


def test_results_carry_no_graph() -> None:
    detector = small()
    assert not detector.predict([noise(32, 32)]).cls_logits.requires_grad
    assert not detector.detect([noise(32, 32)])[0].boxes_xyxy.requires_grad


def test_the_input_statistics_are_no_weights() -> None:
    # They belong to the plain spec; in the state dict they would clash with foreign checkpoints.
    assert not {"mean", "std"} & set(small().state_dict())


def test_looking_at_images_leaves_training_alone() -> None:
    detector = build_fcos(num_classes=1, backbone={"name": "tiny", "norm": "trained"}).train()
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    images = [torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8)]
    detector.detect(images)
    detector.predict(images)
    assert detector.training and detector.head.training
    assert all(torch.equal(value, before[key]) for key, value in detector.state_dict().items())

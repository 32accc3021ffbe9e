"""The shared vocabulary: shapes refused, padding, moving between devices."""

import dataclasses

import numpy as np
import pytest
import torch

from fcos_lightning.structures import (
    Batch,
    Detections,
    GroundTruth,
    Images,
    Losses,
    Points,
    Target,
    Targets,
    Totals,
)


@pytest.mark.parametrize(
    ("boxes", "labels"),
    [
        (torch.zeros(4), torch.zeros(1, dtype=torch.int64)),
        (torch.zeros(2, 5), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 4), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(2, 4), torch.zeros(2, 1, dtype=torch.int64)),
        (torch.zeros(0), torch.zeros(0, dtype=torch.int64)),
    ],
)
def test_target_refuses_shapes_that_do_not_fit(boxes: torch.Tensor, labels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"boxes"):
        Target(boxes, labels)


def test_structures_are_frozen() -> None:
    target = Target(torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(dataclasses.FrozenInstanceError):
        target.labels = torch.ones(1)  # type: ignore[misc]


def test_stack_pads_boxes_with_zero_and_labels_with_minus_one() -> None:
    two = Target(torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]]), torch.tensor([0, 3]))
    none = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    stacked = Targets.stack([two, none])
    assert stacked.boxes_xyxy.tolist() == [[[1, 2, 3, 4], [5, 6, 7, 8]], [[0] * 4] * 2]
    assert stacked.labels.tolist() == [[0, 3], [-1, -1]]
    # Class 0 is a class: only padding is not valid.
    assert stacked.valid.tolist() == [[True, True], [False, False]]
    assert stacked.labels.dtype == torch.int64


def test_stack_of_images_without_boxes_keeps_both_axes() -> None:
    none = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    stacked = Targets.stack([none, none])
    assert stacked.boxes_xyxy.shape == (2, 0, 4)
    assert stacked.labels.shape == (2, 0)


def test_stack_makes_boxes_float32() -> None:
    target = Target(torch.zeros(1, 4, dtype=torch.float64), torch.zeros(1, dtype=torch.int64))
    assert Targets.stack([target]).boxes_xyxy.dtype == torch.float32


@pytest.mark.parametrize(
    ("sizes", "padded"),
    [
        ([(1, 1)], (32, 32)),
        ([(32, 64)], (32, 64)),
        ([(33, 64)], (64, 64)),
        ([(5, 70), (40, 3)], (64, 96)),
    ],
)
def test_images_lie_in_the_top_left_corner(
    sizes: list[tuple[int, int]], padded: tuple[int, int]
) -> None:
    images = [torch.randint(1, 256, (3, *size), dtype=torch.uint8) for size in sizes]
    batch = Images.pad(images, 32)
    assert batch.padded_size == padded
    assert batch.pixels.dtype == torch.uint8
    assert batch.sizes_hw.tolist() == [list(size) for size in sizes]
    for pixels, image in zip(batch.pixels, images, strict=True):
        height, width = image.shape[-2:]
        assert torch.equal(pixels[:, :height, :width], image)
        # No pixel of an image is 0 here: what is left over is padding alone.
        assert int((pixels > 0).sum()) == image.numel()


@pytest.mark.parametrize(("side", "padded"), [(1, 32), (31, 32), (32, 64), (33, 64), (800, 832)])
def test_padding_beyond_a_side(side: int, padded: int) -> None:
    image = torch.ones(3, side, 5, dtype=torch.uint8)
    batch = Images.pad([image], 32, beyond=True)
    assert batch.padded_size == (padded, 32) == ((side | 31) + 1, 32)
    assert int(batch.pixels.sum()) == image.numel()


def test_no_image_makes_no_batch() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        Images.pad([], 32)


def test_moving_a_batch_moves_nested_tensors_and_keeps_the_rest() -> None:
    batch = Batch(
        images=Images(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.tensor([[4, 4]])),
        targets=Targets(torch.zeros(1, 0, 4), torch.zeros(1, 0, dtype=torch.int64)),
        image_ids=torch.tensor([7]),
        original_sizes_hw=torch.tensor([[8, 8]]),
        dropped_boxes=3,
        unreadable=("a.jpg",),
    )
    moved = batch.to("meta")
    assert {
        tensor.device.type
        for tensor in (
            moved.images.pixels,
            moved.images.sizes_hw,
            moved.targets.boxes_xyxy,
            moved.targets.labels,
            moved.image_ids,
            moved.original_sizes_hw,
        )
    } == {"meta"}
    assert (moved.dropped_boxes, moved.unreadable, len(moved)) == (3, ("a.jpg",), 1)
    assert batch.images.pixels.device.type == "cpu"


def test_points_count_their_levels() -> None:
    points = Points(torch.zeros(7, 2), torch.zeros(7), ((2, 3), (1, 1)), (8, 16))
    assert points.per_level == [6, 1]


def test_total_loss_is_the_sum_of_the_terms_and_not_of_what_is_looked_at() -> None:
    terms = {name: torch.tensor(value) for name, value in (("a", 1.0), ("b", 2.0), ("c", 4.0))}
    assert Losses(terms, {"d": torch.tensor(8.0)}).total.item() == 7


def test_a_share_of_totals() -> None:
    totals = Totals({"n": torch.tensor(6.0), "none": torch.tensor(0.0)}, batches=4)
    assert totals.share("n") == 1.5
    assert totals.share("none") == 0 and totals.share("none", at_least=1.0) == 0.25


def test_length_of_detections() -> None:
    assert len(Detections(torch.zeros(3, 4), torch.zeros(3), torch.zeros(3))) == 3


def test_rows_of_ground_truth() -> None:
    truth = GroundTruth(
        image_ids=np.array([5, 9, 11]),
        file_names=np.array(["a", "b", "c"]),
        sizes_hw=np.zeros((3, 2), dtype=np.int64),
        first_box=np.array([0, 2, 2, 3]),
        boxes_xyxy=np.zeros((3, 4)),
        labels=np.zeros(3, dtype=np.int64),
        ignored=np.zeros(3, dtype=np.bool_),
        areas_px=np.zeros(3),
        class_names=("thing",),
        category_ids=(1,),
    )
    assert len(truth) == 3
    assert [truth.rows(image) for image in range(3)] == [slice(0, 2), slice(2, 2), slice(2, 3)]

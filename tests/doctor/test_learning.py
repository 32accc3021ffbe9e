"""Which boxes a method can learn: against the assigner box by box, and for every method."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tests.doctor.data_sets import clean, looked_at

from fcos_lightning.data.splits import DataSplit
from fcos_lightning.detector import FCOSAssigner, Grid
from fcos_lightning.doctor.check import Examined, ExaminedSet
from fcos_lightning.doctor.checks.learnable import CrowdedOut, TooSmall
from fcos_lightning.doctor.examine import assign
from fcos_lightning.doctor.learning import Learning, ideal_prediction, learnt
from fcos_lightning.doctor.sizing import advice_on_sizes, sizes_tried
from fcos_lightning.runs.config.composed import composed, config_dir
from fcos_lightning.runs.examining import learning_of
from fcos_lightning.structures import GroundTruth

METHODS = sorted(file.stem for file in (config_dir() / "method").glob("*.yaml"))
FCOS = Learning(Grid(strides=(8, 16, 32)), FCOSAssigner(), 64, 128, 32)


def split_of(*images: list[list[float]], size_hw: tuple[int, int] = (64, 96)) -> DataSplit:
    counts = [len(boxes) for boxes in images]
    boxes = np.array([box for image in images for box in image], dtype=float).reshape(-1, 4)
    truth = GroundTruth(
        image_ids=np.arange(len(images)),
        file_names=np.array([f"{i}.png" for i in range(len(images))]),
        sizes_hw=np.tile(size_hw, (len(images), 1)),
        first_box=np.concatenate([[0], np.cumsum(counts)]),
        boxes_xyxy=boxes,
        labels=np.zeros(len(boxes), np.int64),
        ignored=np.zeros(len(boxes), bool),
        areas_px=np.ones(len(boxes)),
        class_names=("cat",),
        category_ids=(1,),
    )
    return DataSplit(truth, Path("/nowhere"), {}, "train")


def answering(
    boxes: list[list[float]], strides: tuple[int, ...], size: tuple[int, int]
) -> list[int]:
    """FCOS by the words of the paper: points of each box, with plain loops."""
    counts = [0] * len(boxes)
    for level, stride in enumerate(strides):
        low = -1 if level == 0 else 4 * stride
        high = math.inf if level == len(strides) - 1 else 8 * stride
        for row in range(math.ceil(size[0] / stride)):
            for column in range(math.ceil(size[1] / stride)):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                best = None
                for number, (x1, y1, x2, y2) in enumerate(boxes):
                    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
                    near = max(abs(x - cx), abs(y - cy)) < 1.5 * stride
                    inside = x1 < x < x2 and y1 < y < y2
                    farthest = max(x - x1, y - y1, x2 - x, y2 - y)
                    area = (x2 - x1) * (y2 - y1)
                    if near and inside and low <= farthest <= high:
                        best = min(best or (area, number), (area, number))
                if best:
                    counts[best[1]] += 1
    return counts


@pytest.mark.parametrize("seed", range(8))
def test_points_of_boxes_against_plain_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 70, (12, 2)).astype(float)
    boxes = np.concatenate([corner, corner + rng.integers(1, 50, (12, 2))], axis=1)
    boxes = boxes.clip(0, [96, 64, 96, 64])
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
    seen = learnt(split_of(boxes.tolist()), FCOS, [0])
    assert seen.points.tolist() == answering(boxes.tolist(), (8, 16, 32), (64, 96))
    for row in np.flatnonzero(seen.points == 0).tolist():
        alone = answering([boxes[row].tolist()], (8, 16, 32), (64, 96))[0]
        assert seen.alone[row] == (alone > 0)
    assert sum(seen.levels.values()) == seen.points.sum()


def test_boxes_are_counted_at_the_size_after_resizing() -> None:
    # Between the points of stride 8, which are at 4, 12, 20; twice as large it holds four.
    split = split_of([[5, 5, 11, 11]])
    assert learnt(split, FCOS, [0]).points.tolist() == [0]
    twice = learnt(split, FCOS.at(128), [0])
    assert twice.points.tolist() == [4] and twice.sides.tolist() == [[12, 12]]


def test_too_small_and_crowded_out_are_told_apart() -> None:
    split = split_of([[5, 5, 11, 11], [20, 20, 40, 40], [20, 20, 40, 40]])
    data = assign(Examined([ExaminedSet("train", split)]), FCOS)
    (small,) = TooSmall()(data)
    (crowded,) = CrowdedOut()(data)
    assert small.box == (5, 5, 11, 11) and "no point answers" in small.message
    assert crowded.box == (20, 20, 40, 40) and "others take all" in crowded.message


@pytest.mark.parametrize("method", METHODS)
def test_every_method_tells_what_it_can_learn(method: str, tmp_path: Path) -> None:
    scene = clean(tmp_path)
    for part in (scene.train, scene.val):
        part.write(tmp_path)
    words = [f"method={method}", f"data.root={tmp_path}", "data.shorter_side=256"]
    with composed("doctor", words) as config:
        how = learning_of(config)
    split = looked_at(tmp_path).train.split
    seen = learnt(split, how, range(4))
    # Eight large boxes beside one another: each method learns each of them.
    assert len(seen.points) == 8 and (seen.points > 0).all()
    assert sum(seen.levels.values()) == seen.points.sum()
    tried = sizes_tried(split, how)
    assert [one.shorter_side for one in tried] == [128, 192, 256, 384, 512]
    assert list(advice_on_sizes(split, how, seen, tried))


def test_the_ideal_prediction_is_the_smallest_box_of_a_point() -> None:
    points = Grid(strides=(8, 16))((64, 96))
    boxes = torch.tensor([[4.0, 4, 60, 60], [10, 10, 40, 40], [70, 0, 90, 60]])
    found = ideal_prediction(points, boxes, torch.tensor([1, 0, 2]))
    for place, (x, y) in enumerate(points.xy.tolist()):
        holding = [b for b in boxes.tolist() if b[0] < x < b[2] and b[1] < y < b[3]]
        if holding:
            x1, y1, x2, y2 = min(holding, key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))
            assert found.ltrb_px[0, place].tolist() == [x - x1, y - y1, x2 - x, y2 - y]
        assert (found.cls_logits[0, place] > -1).sum() == bool(holding)


def test_weights_are_neither_fetched_nor_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("fetched")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    with composed("doctor", ["data.root=.", "model=r50"]) as config:
        before = copy.deepcopy(OmegaConf.to_container(config))
        how = learning_of(config)
        assert OmegaConf.to_container(config) == before
    assert how.grid.strides == (8, 16, 32, 64, 128)
    assert how.finer is not None and how.finer.strides[0] == 4


# Advice


def advice(split: DataSplit, how: Learning) -> str:
    seen = learnt(split, how, range(len(split)))
    return "; ".join(advice_on_sizes(split, how, seen, sizes_tried(split, how)))


def test_a_larger_size_is_proposed_where_boxes_lie_between_points() -> None:
    how = Learning(Grid(strides=(8, 16)), FCOSAssigner(), 256, 512, 32)
    split = split_of(*[[[21, 21, 27, 27], [50, 30, 90, 60]]] * 10, size_hw=(256, 384))
    said = advice(split, how)
    assert "50.0% of 20 have a point" in said and "data.shorter_side=384 would give 100.0%" in said


def test_nothing_is_proposed_for_what_a_few_images_alone_lack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sizes are tried on some images only, which may have more such boxes than all have."""
    monkeypatch.setattr("fcos_lightning.doctor.sizing._MOST_IMAGES", 1)
    how = Learning(Grid(strides=(8, 16)), FCOSAssigner(), 256, 512, 32)
    odd, good = [[21, 21, 27, 27], [50, 30, 90, 60]], [[50, 30, 90, 60]]
    said = advice(split_of(odd, *[good] * 150, size_hw=(256, 384)), how)
    assert "99.3% of 152 have a point" in said and "would give" not in said


def test_a_smaller_size_is_proposed_where_nothing_is_lost() -> None:
    how = Learning(Grid(strides=(8, 16, 32)), FCOSAssigner(), 512, 1024, 32)
    split = split_of(*[[[20, 20, 220, 200]]] * 10, size_hw=(512, 768))
    assert "at data.shorter_side=256 it would be 100.0%, and a step cost about 1/4.0" in advice(
        split, how
    )
    small = split_of(*[[[20, 20, 40, 40]]] * 10, size_hw=(512, 768))
    assert "a step cost" not in advice(small, how)  # it would be less than two cells wide


def test_a_finer_level_is_proposed() -> None:
    how = Learning(
        Grid(strides=(8, 16)), FCOSAssigner(), 256, 512, 32, finer=Grid(strides=(4, 8, 16))
    )
    split = split_of(*[[[21, 21, 27, 27], [50, 30, 90, 60]]] * 10, size_hw=(256, 384))
    assert "with a level P2, of stride 4, 100.0% in place of 50.0%" in advice(split, how)
    assert "model.fpn.levels=[2,3,4]" in advice(split, how)


def test_size_ranges_are_proposed_where_one_level_does_all() -> None:
    rng = np.random.default_rng(0)
    images = []
    for _ in range(10):
        corner = rng.uniform(0, 200, (4, 2))
        side = rng.uniform(20, 60, (4, 1))
        images.append(np.concatenate([corner, corner + side], axis=1).tolist())
    split = split_of(*images, size_hw=(256, 384))
    how = Learning(Grid(strides=(8, 16, 32)), FCOSAssigner(), 256, 512, 32)
    said = advice(split, how)
    assert (
        "P3 does nearly all the work: model.assigner.size_ranges=[[-1,32],[32,48],[48,.inf]]"
        in said
    )

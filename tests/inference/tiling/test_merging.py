"""The rule of merging against a plain loop over pairs of boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fcos_lightning.inference.tiling import merging
from fcos_lightning.inference.tiling.merging import cut_by, merged
from fcos_lightning.inference.tiling.windows import Window
from fcos_lightning.structures import Detections


def area(box: list[float]) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def common(one: list[float], other: list[float]) -> float:
    both = [max(a, b) for a, b in zip(one[:2], other[:2], strict=True)]
    return area(both + [min(a, b) for a, b in zip(one[2:], other[2:], strict=True)])


def by_hand(found: Detections, cut: torch.Tensor, nms_iou: float) -> list[int]:
    boxes, labels = found.boxes_xyxy.tolist(), found.labels.tolist()
    order = found.scores.argsort(descending=True, stable=True).tolist()

    def overlap(a: int, b: int) -> float:
        inter = common(boxes[a], boxes[b])
        return inter / (area(boxes[a]) + area(boxes[b]) - inter)

    whole: list[int] = []
    for a in (one for one in order if not cut[one]):
        if not any(labels[a] == labels[b] and overlap(a, b) > nms_iou for b in whole):
            whole.append(a)
    parts: list[int] = []
    for a in (one for one in order if cut[one]):
        same = [b for b in whole if labels[a] == labels[b]]
        if any(overlap(a, b) > nms_iou for b in same):
            continue
        if any(common(boxes[a], boxes[b]) / area(boxes[a]) > 0.6 for b in same):
            continue
        if not any(labels[a] == labels[b] and overlap(a, b) > nms_iou for b in parts):
            parts.append(a)
    return sorted(whole + parts, key=order.index)


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_rule_by_hand(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "_PAIRS", 50)  # several blocks
    random = np.random.default_rng(seed)
    count = int(random.integers(0, 120))
    xy = random.integers(0, 100, (count, 2))
    wh = random.integers(5, 50, (count, 2))
    found = Detections(
        torch.tensor(np.concatenate([xy, xy + wh], axis=1), dtype=torch.float32),
        torch.tensor(random.permutation(count) + 1.0) / (count + 1),
        torch.tensor(random.integers(0, 3, count)),
    )
    cut = torch.tensor(random.random(count) < 0.5)
    kept = merged(found, cut, 0.5)
    expected = found.at(torch.tensor(by_hand(found, cut, 0.5), dtype=torch.int64))
    assert torch.equal(kept.boxes_xyxy, expected.boxes_xyxy)
    assert torch.equal(kept.scores, expected.scores) and torch.equal(kept.labels, expected.labels)


def test_a_part_loses_to_its_whole_whatever_the_scores() -> None:
    boxes = torch.tensor([[10.0, 10, 50, 50], [10, 10, 30, 50], [80, 10, 90, 50]])
    found = Detections(boxes, torch.tensor([0.4, 0.9, 0.5]), torch.tensor([0, 0, 0]))
    kept = merged(found, torch.tensor([False, True, True]), 0.6)
    np.testing.assert_allclose(kept.scores, [0.5, 0.4])
    # Of another class it stays.
    other = Detections(boxes, found.scores, torch.tensor([0, 1, 0]))
    assert len(merged(other, torch.tensor([False, True, True]), 0.6)) == 3


def test_boxes_are_cut_by_inner_sides_alone() -> None:
    boxes = torch.tensor(
        [[100.0, 120, 130, 140], [110, 120, 199.5, 140], [110, 120, 130, 140], [110, 60, 130, 70]]
    )
    inner = Window(100, 60, 200, 160)
    assert cut_by(boxes, inner, 1000, 1000).tolist() == [True, True, False, True]
    corner = Window(100, 60, 200, 160)
    assert cut_by(boxes, corner, 160, 200).tolist() == [True, False, False, True]
    assert not cut_by(boxes, Window(0, 0, 200, 160), 160, 200).any()

"""Class logits of a checkpoint go to the classes of the same names."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.checkpoints.native import KEY, PREFIX, describe
from fcos_lightning.checkpoints.starting import Started
from fcos_lightning.detector import DenseDetector, build_detector

NET: dict[str, Any] = {
    "backbone": {"name": "tiny", "widths": [4, 4, 8, 8], "depths": [1, 1, 1, 1]},
    "fpn": {"channels": 8, "levels": [3, 4, 5]},
}
FCOS = {"head": {"num_convs": 1}, **NET}
RETINANET = {
    "head": {"name": "retinanet", "num_convs": 1},
    "grid": {"anchor_scales": [4.0], "anchor_ratios": [0.5, 1.0, 2.0]},
    "assigner": {"name": "anchors"},
    "loss": {"name": "retinanet"},
    "decoder": {"name": "nms", "score": "class"},
    **NET,
}


def made(names: tuple[str, ...], seed: int, options: dict[str, Any] = FCOS) -> DenseDetector:
    torch.manual_seed(seed)
    ids = tuple(range(1, len(names) + 1))
    detector = build_detector(class_names=names, category_ids=ids, **options)
    torch.nn.init.normal_(detector.head.cls_logits.bias)  # type: ignore[union-attr,arg-type]
    return detector


def start(file: Path, old: DenseDetector, new: DenseDetector) -> Started:
    state = {f"{PREFIX}{key}": value for key, value in old.state_dict().items()}
    torch.save({KEY: describe(old), "state_dict": state}, file)
    return Checkpoint.read(file).start(new)


def rows(detector: DenseDetector) -> list[torch.Tensor]:
    """``[A, C, ...]`` of each tensor."""
    number = len(detector.class_names or ())
    logits = detector.head.cls_logits
    return [
        value.detach().clone().view(-1, number, *value.shape[1:])  # type: ignore[operator,union-attr]
        for value in (logits.weight, logits.bias)  # type: ignore[union-attr]
    ]


@pytest.mark.parametrize("options", [FCOS, RETINANET], ids=["fcos", "retinanet"])
@pytest.mark.parametrize("names", [("b", "z"), ("z", "c", "a", "y"), ("c", "b", "a")])
def test_rows_follow_the_names(
    tmp_path: Path, names: tuple[str, ...], options: dict[str, Any]
) -> None:
    old, new = made(("a", "b", "c"), 0, options), made(names, 1, options)
    fresh = rows(new)
    started = start(tmp_path / "old.ckpt", old, new)
    for before, now, was in zip(rows(old), rows(new), fresh, strict=True):
        for label, name in enumerate(names):
            known = name in ("a", "b", "c")
            expected = before[:, "abc".index(name)] if known else was[:, label]
            assert torch.equal(now[:, label], expected), name
    assert started.classes == tuple(name for name in names if name in "abc")
    assert started.fresh_classes == tuple(name for name in names if name not in "abc")
    (said,) = started.notes()
    assert said.startswith(f"init_from took over classes by name: {', '.join(started.classes)}")


def test_the_same_classes_are_taken_over_without_a_word(tmp_path: Path) -> None:
    old, new = made(("a", "b"), 0), made(("a", "b"), 1)
    assert start(tmp_path / "old.ckpt", old, new).notes() == []
    assert all(torch.equal(*pair) for pair in zip(rows(old), rows(new), strict=True))


def test_of_nameless_classes_nobody_knows_which_they_are(tmp_path: Path) -> None:
    torch.manual_seed(0)
    old, new = build_detector(num_classes=2, **FCOS), made(("a", "b"), 1)
    fresh = rows(new)
    started = start(tmp_path / "old.ckpt", old, new)
    assert all(torch.equal(*pair) for pair in zip(fresh, rows(new), strict=True))
    assert started.fresh == ("head.cls_logits.bias", "head.cls_logits.weight")
    assert "fresh: a, b" in started.notes()[-1]


def test_a_name_that_two_classes_share_is_told_by_its_id(tmp_path: Path) -> None:
    old, new = made(("a", "a", "b"), 0), made(("b", "a", "a"), 1)
    before, fresh = rows(old)[1][0], rows(new)[1][0]
    started = start(tmp_path / "old.ckpt", old, new)
    now = rows(new)[1][0]
    # Ids 1 and 2 there, 2 and 3 here: the one of id 2 is the same, the one of id 3 nobody knows.
    assert now.tolist() == [before[2].item(), before[1].item(), fresh[2].item()]
    assert started.fresh_classes == ("a",)

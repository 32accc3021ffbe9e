from types import SimpleNamespace

import pytest
import torch

from fcos_lightning import build_fcos
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Batch, Images, Target, Targets, Totals
from fcos_lightning.training.module import FCOSModule
from fcos_lightning.training.moving_positives import MovingPositives


def average(moving: MovingPositives, count: float) -> float:
    """Take in a step's positives and return the average."""
    totals = moving(Totals({"positives": torch.tensor(count), "other": torch.tensor(3.0)}))
    assert totals.sums["positives"] == count and totals.sums["other"] == 3
    return float(totals.sums["moving_positives"])


@pytest.mark.parametrize("start", [None, 300.0])
def test_the_average_is_that_of_a_plain_loop(start: float | None) -> None:
    moving, counts = MovingPositives(0.9, start), [40.0, 0.0, 7.0, 1000.0]
    expected = counts[0] if start is None else start
    for count in counts:
        expected = 0.9 * expected + 0.1 * count
        assert average(moving, count) == pytest.approx(expected)


def test_a_resumed_run_goes_on_with_it() -> None:
    first, second = MovingPositives(), MovingPositives()
    average(first, 50.0)
    second.load_state_dict(first.state_dict())
    assert average(second, 10.0) == pytest.approx(46.0)


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match=r"moving_normaliser=1\.5"):
        MovingPositives(1.5)


def test_a_loss_that_counts_no_positives_is_refused() -> None:
    with pytest.raises(UserError, match="counts no positives"):
        MovingPositives()(Totals({"weights": torch.tensor(1.0)}))


def test_only_the_classification_loss_is_divided_by_it() -> None:
    torch.manual_seed(0)
    detector = build_fcos(num_classes=2, backbone={"name": "resnet18"}, head={"num_convs": 1})
    boxes = torch.tensor([[8.0, 8.0, 56.0, 56.0]])
    target = Targets.stack([Target(boxes, torch.tensor([0]))])
    images = Images.pad([torch.full((3, 64, 64), 50, dtype=torch.uint8)], 32)
    batch = Batch(images, target, torch.tensor([1]), torch.tensor([[64, 64]]))
    module = FCOSModule(detector, moving_positives=MovingPositives(0.9, 1000.0))
    module._trainer = SimpleNamespace(  # type: ignore[assignment]
        world_size=1,
        accumulate_grad_batches=1,
        strategy=SimpleNamespace(reduce=lambda totals, reduce_op: totals),
    )
    module._fabric = None
    points = detector.grid((64, 64))
    assignment = detector.assign(points, target)
    plain = detector.loss(detector(images), assignment, points)
    totals = module.over_the_whole_step(assignment, batch)
    found = detector.loss(detector(images), assignment, points, totals)
    positives = float(assignment.positive.sum())
    ratio = positives / (0.9 * 1000 + 0.1 * positives)
    assert float(found.terms["cls"]) == pytest.approx(float(plain.terms["cls"]) * ratio)
    assert float(found.terms["box"]) == pytest.approx(float(plain.terms["box"]))
    assert float(found.terms["quality"]) == pytest.approx(float(plain.terms["quality"]))
    assert "moving_positives.average" in module.state_dict()

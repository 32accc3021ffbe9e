"""DenseBox's losses against a plain loop."""

import pytest
import torch
from tests.detector.assigners.scenes import scene

from fcos_lightning.detector import Grid
from fcos_lightning.detector.assigners.densebox import DenseBoxAssigner
from fcos_lightning.detector.losses.densebox import DenseBoxLoss, SquaredError
from fcos_lightning.detector.losses.mined import mined_sum, plain_mined_sum
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Prediction

SIZE, CLASSES = (32, 44), 4
POINTS = Grid((4,))(SIZE)


def outputs(seed: int) -> Prediction:
    generator = torch.Generator().manual_seed(seed)
    # In memory as heads leave it: class after class.
    logits = torch.randn(2, CLASSES, len(POINTS.xy), generator=generator).transpose(1, 2)
    ltrb_px = torch.randn(2, len(POINTS.xy), 4, generator=generator) * 20
    return Prediction(logits.requires_grad_(), ltrb_px.requires_grad_())


def plain(prediction: Prediction, seed: int, negatives: float) -> tuple[float, float]:
    assignment = DenseBoxAssigner()(POINTS, scene(seed, SIZE))
    assert assignment.ignored is not None
    cls = box = 0.0
    probability = prediction.cls_logits.double().sigmoid().tolist()
    for image in range(2):
        background, positives = [], 0
        for point, label in enumerate(assignment.labels[image].tolist()):
            row = probability[image][point]
            error = sum((p - (c == label)) ** 2 for c, p in enumerate(row))
            if label >= 0:
                positives += 1
                cls += error
                off = prediction.ltrb_px[image, point] - assignment.ltrb_px[image, point]
                box += sum((side / 50) ** 2 for side in off.tolist())
            elif not assignment.ignored[image, point]:
                background.append(error)
        cls += sum(sorted(background, reverse=True)[: int(max(positives, 1) * negatives)])
    number = max(int(assignment.positive.sum()), 1)
    return cls / number, 3 * box / number


@pytest.mark.parametrize("negatives", [0.0, 1.0, 3.0])
def test_forty_scenes_as_a_plain_loop_has_them(negatives: float) -> None:
    for seed in range(40):
        prediction = outputs(seed)
        assignment = DenseBoxAssigner()(POINTS, scene(seed, SIZE))
        losses = DenseBoxLoss(negatives)(prediction, assignment, POINTS)
        cls, box = plain(prediction, seed, negatives)
        assert losses.terms["cls"].item() == pytest.approx(cls, rel=1e-5)
        assert losses.terms["box"].item() == pytest.approx(box, rel=1e-5)


def test_the_gradient_is_the_one_that_torch_derives() -> None:
    for seed in range(5):
        logits = outputs(seed).cls_logits
        labels = DenseBoxAssigner()(POINTS, scene(seed, SIZE)).labels
        ours = mined_sum(SquaredError(), logits, labels, 1.0)
        theirs = plain_mined_sum(SquaredError(), logits, labels, 1.0)
        torch.testing.assert_close(ours, theirs)
        grads = [torch.autograd.grad(one / 7, logits)[0] for one in (ours, theirs)]
        torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("option", "message"),
    [("negatives", "give 0 or more"), ("box_weight", "give 0 or more"), ("unit_px", "above 0")],
)
def test_options_without_a_meaning(option: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        DenseBoxLoss(**{option: -1.0})

"""The focal loss in one pass against torchvision's formula, and its gradient against autograd's."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from fcos_lightning.detector.losses import focal
from fcos_lightning.detector.losses.focal import (
    plain_focal_sum,
    plain_quality_focal_sum,
    quality_focal_sum,
    sigmoid_focal_sum,
)


def scene(
    images: int = 2, points: int = 37, classes: int = 5, positive: float = 0.3
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes)
    logits = 4 * torch.randn(images, points, classes, generator=generator) - 1
    labels = torch.randint(0, classes, (images, points), generator=generator)
    background = torch.rand(images, points, generator=generator) >= positive
    return logits, labels.masked_fill(background, -1)


def with_gradient(function: object, logits: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    total = function(leaf, *rest)  # type: ignore[operator]
    (gradient,) = torch.autograd.grad(total / 7, leaf)
    return total.detach(), gradient


@pytest.mark.parametrize("positive", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("classes", [1, 5, 80])
@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.5, 1.5), (-1.0, 0.0), (0.75, 3.0)])
def test_equals_the_plain_formula(
    positive: float, classes: int, alpha: float, gamma: float
) -> None:
    logits, labels = scene(classes=classes, positive=positive)
    ours, our_gradient = with_gradient(sigmoid_focal_sum, logits, labels, alpha, gamma)
    plain, plain_gradient = with_gradient(plain_focal_sum, logits, labels, alpha, gamma)
    torch.testing.assert_close(ours, plain, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(our_gradient, plain_gradient, rtol=1e-5, atol=1e-7)


def test_pieces_add_up_wherever_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = scene()
    whole = with_gradient(sigmoid_focal_sum, logits, labels, 0.25, 2.0)
    for size in (1, 5, 23, 10**6):
        monkeypatch.setitem(focal._PIECE, "cpu", size)
        pieces = with_gradient(sigmoid_focal_sum, logits, labels, 0.25, 2.0)
        torch.testing.assert_close(pieces, whole, rtol=1e-6, atol=1e-8)


def test_extreme_logits_give_finite_losses_and_slopes() -> None:
    logits = torch.tensor([[[-200.0, 200.0], [200.0, -200.0], [0.0, 90.0]]])
    labels = torch.tensor([[0, -1, 1]])
    ours, our_gradient = with_gradient(sigmoid_focal_sum, logits, labels, 0.25, 2.0)
    plain, plain_gradient = with_gradient(plain_focal_sum, logits, labels, 0.25, 2.0)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(our_gradient, plain_gradient)
    assert our_gradient.isfinite().all()


def test_a_sure_and_right_point_keeps_its_tiny_loss() -> None:
    # What background costs there is not added first and taken away again.
    logits = torch.full((1, 1000, 1), 12.0)
    labels = torch.zeros(1, 1000, dtype=torch.int64)
    ours, gradient = with_gradient(sigmoid_focal_sum, logits, labels, 0.25, 2.0)
    exact, exact_gradient = with_gradient(
        lambda x: (0.25 * (-x).sigmoid() ** 2 * softplus(-x)).sum(), logits.double()
    )
    assert float(ours) == pytest.approx(float(exact), rel=1e-6)
    torch.testing.assert_close(gradient.double(), exact_gradient, rtol=1e-5, atol=0)


def test_half_precision_logits_get_a_gradient_of_their_own_type() -> None:
    logits, labels = scene()
    ours, gradient = with_gradient(sigmoid_focal_sum, logits.bfloat16(), labels, 0.25, 2.0)
    plain, plain_gradient = with_gradient(plain_focal_sum, logits.bfloat16(), labels, 0.25, 2.0)
    assert ours.dtype == torch.float32 and gradient.dtype == torch.bfloat16
    torch.testing.assert_close(ours, plain, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, plain_gradient, rtol=2**-7, atol=1e-6)


def test_logits_in_any_memory_order_are_understood() -> None:
    logits, labels = scene()
    turned = logits.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert not turned.is_contiguous()
    expected = with_gradient(sigmoid_focal_sum, logits, labels, 0.25, 2.0)
    torch.testing.assert_close(
        with_gradient(sigmoid_focal_sum, turned, labels, 0.25, 2.0), expected
    )


def test_without_gradients_none_is_worked_out() -> None:
    logits, labels = scene()
    total = sigmoid_focal_sum(logits, labels, 0.25, 2.0)
    assert not total.requires_grad
    torch.testing.assert_close(total, plain_focal_sum(logits, labels, 0.25, 2.0))


@pytest.mark.parametrize("goal", [None, 0.4])
def test_what_is_ignored_is_as_if_it_were_not_there(goal: float | None) -> None:
    logits, labels = scene(points=40)
    ignored = torch.rand(labels.shape, generator=torch.Generator().manual_seed(2)) < 0.3
    logits[0, 0], ignored[0, 0] = torch.tensor([90.0, -90.0, 0.0, 200.0, 1.0]), True
    assert (ignored & (labels >= 0)).any()  # whatever its label

    def loss(logits: Tensor, labels: Tensor, ignored: Tensor | None = None) -> Tensor:
        if goal is None:
            return sigmoid_focal_sum(logits, labels, 0.25, 2.0, ignored)
        goals = torch.full(labels.shape, goal)
        return quality_focal_sum(logits, labels, goals, 2.0, ignored)

    ours, gradient = with_gradient(loss, logits, labels, ignored)
    rest, its = with_gradient(loss, logits[~ignored][None], labels[~ignored][None])
    torch.testing.assert_close(ours, rest, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(gradient[~ignored][None], its, rtol=1e-5, atol=1e-7)
    assert not gradient[ignored].any()


@pytest.mark.parametrize("with_ignored", [False, True])
def test_the_gradient_can_be_asked_for_twice(with_ignored: bool) -> None:
    logits, labels = scene()
    ignored = labels == 1 if with_ignored else None
    leaf = logits.requires_grad_()
    total = sigmoid_focal_sum(leaf, labels, 0.25, 2.0, ignored)
    (first,) = torch.autograd.grad(total / 7, leaf, retain_graph=True)
    kept = first.clone()
    (second,) = torch.autograd.grad(total * 3, leaf)
    torch.testing.assert_close(second, kept * 21, rtol=1e-6, atol=0)
    assert torch.equal(first, kept)  # not written over


@pytest.mark.parametrize("positive", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("classes", [1, 5, 80])
@pytest.mark.parametrize("beta", [2.0, 1.5, 1.0, 0.0])
def test_quality_focal_equals_the_plain_formula(positive: float, classes: int, beta: float) -> None:
    logits, labels = scene(classes=classes, positive=positive)
    goal = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1))
    goal[:, ::4] = goal[:, ::4].round()  # some of them 0 or 1
    ours, our_gradient = with_gradient(quality_focal_sum, logits, labels, goal, beta)
    plain, plain_gradient = with_gradient(plain_quality_focal_sum, logits, labels, goal, beta)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(our_gradient, plain_gradient, rtol=1e-4, atol=1e-6)


def test_quality_focal_of_goal_1_is_the_focal_loss_without_alpha() -> None:
    logits, labels = scene()
    quality = with_gradient(quality_focal_sum, logits, labels, torch.ones(labels.shape), 2.0)
    focal_loss = with_gradient(sigmoid_focal_sum, logits, labels, -1.0, 2.0)
    torch.testing.assert_close(quality, focal_loss, rtol=1e-6, atol=1e-7)


def test_quality_focal_of_extreme_logits_is_finite_and_leaves_out_what_is_ignored() -> None:
    logits = torch.tensor([[[-200.0, 200.0], [200.0, -200.0], [0.0, 90.0], [3.0, -3.0]]])
    labels, goal = torch.tensor([[0, -1, 1, 0]]), torch.tensor([[0.7, 0.0, 0.0, 0.4]])
    total, gradient = with_gradient(quality_focal_sum, logits, labels, goal, 2.0)
    assert total.isfinite() and gradient.isfinite().all()
    out = torch.tensor([[False, False, False, True]])
    less, its = with_gradient(quality_focal_sum, logits, labels.where(~out, -1), goal, 2.0, out)
    assert less < total and (its[0, 3] == 0).all() and torch.equal(its[0, :3], gradient[0, :3])

"""The distribution focal loss in one pass against its formula, and its gradient."""

import math

import pytest
import torch
from torch import Tensor

from fcos_lightning.detector.losses import distribution
from fcos_lightning.detector.losses.distribution import (
    distribution_focal_sum,
    plain_distribution_focal_sum,
)


def scene(count: int = 6, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 31, 4, count, generator=random) * 3
    steps = torch.rand(2, 31, 4, generator=random) * (count + 1) - 0.5  # beyond both ends as well
    steps[0, :count] = torch.arange(float(count))[:, None]
    weight = torch.rand(2, 31, generator=random)
    return logits, steps, weight * (torch.rand(2, 31, generator=random) < 0.5)


def with_gradient(function: object, logits: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    total = function(leaf, *rest)  # type: ignore[operator]
    (gradient,) = torch.autograd.grad(total / 7, leaf)
    return total.detach(), gradient


@pytest.mark.parametrize("count", [2, 6, 17])
def test_equals_the_plain_formula(count: int) -> None:
    ours, our_gradient = with_gradient(distribution_focal_sum, *scene(count))
    plain, plain_gradient = with_gradient(plain_distribution_focal_sum, *scene(count))
    assert ours > 0
    torch.testing.assert_close(ours, plain, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(our_gradient, plain_gradient, rtol=1e-5, atol=1e-7)


def test_the_formula_by_hand() -> None:
    logits = torch.tensor([0.3, -1.0, 2.0, 0.5])
    probability = logits.double().softmax(0).tolist()
    # 1.25 strides: three quarters of step 1 and a quarter of step 2; 9 strides: nearly the last.
    wanted = -0.75 * math.log(probability[1]) - 0.25 * math.log(probability[2])
    last = -0.1 * math.log(probability[2]) - 0.9 * math.log(probability[3])
    found = distribution_focal_sum(
        logits.expand(1, 1, 4, 4), torch.tensor([[[1.25, 1.25, 9.0, 9.0]]]), torch.tensor([[3.0]])
    )
    assert found.item() == pytest.approx(3 * (2 * wanted + 2 * last) / 4, rel=1e-6)


def test_pieces_add_up_wherever_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = with_gradient(distribution_focal_sum, *scene())
    for size in (1, 25, 10**6):
        monkeypatch.setitem(distribution._PIECE, "cpu", size)
        pieces = with_gradient(distribution_focal_sum, *scene())
        torch.testing.assert_close(pieces, whole, rtol=1e-6, atol=1e-8)


def test_half_precision_is_worked_out_in_float32() -> None:
    logits, steps, weight = scene()
    half, gradient = with_gradient(distribution_focal_sum, logits.bfloat16(), steps, weight)
    exact = distribution_focal_sum(logits.bfloat16().float(), steps, weight)
    assert half.dtype == torch.float32 and torch.equal(half, exact)
    assert gradient.dtype == torch.bfloat16

"""The mean of checkpoints is that of their numbers, and only of detectors that are made alike."""

from pathlib import Path

import pytest
import torch

from fcos_lightning import build_fcos
from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.checkpoints.averaging import mean_of
from fcos_lightning.errors import UserError

TINY = {"name": "tiny", "frozen_stages": 0, "norm": "trained", "widths": [8, 8, 8, 8]}
SMALL = {"backbone": TINY, "fpn": {"channels": 16, "levels": [3, 4]}, "head": {"num_convs": 1}}


def checkpoint(seed: int, **changes: object) -> Checkpoint:
    torch.manual_seed(seed)
    detector = build_fcos(**{"class_names": ["cat", "dog"], **SMALL, **changes})  # type: ignore[arg-type]
    detector.train()
    for _ in range(seed + 1):  # statistics and counters of BatchNorm
        detector.backbone(torch.rand(2, 3, 64, 64))
    about = {"shorter_side": 100 + seed}
    return Checkpoint(
        Path(f"{seed}.ckpt"), detector.spec, detector.state_dict(), about, {"epoch": 1}
    )


def test_the_mean_of_each_weight_and_statistic() -> None:
    given = [checkpoint(seed) for seed in range(3)]
    mean = mean_of(given)
    assert mean.spec == given[0].spec and mean.about == given[0].about and mean.run == {}
    counters = 0
    for key, value in mean.weights.items():
        parts = [one.weights[key] for one in given]
        if value.is_floating_point():
            assert value.dtype == parts[0].dtype
            oracle = torch.stack([part.double() for part in parts]).mean(dim=0).to(value.dtype)
            assert torch.equal(value, oracle), key
        else:
            counters += 1
            assert torch.equal(value, parts[0]) and int(value) == 1
    assert counters > 0
    mean.detector()  # which checks that all is there


def test_of_equal_ones_it_is_the_same() -> None:
    one = checkpoint(0)
    mean = mean_of([one, one, one])
    assert all(torch.equal(mean.weights[key], value) for key, value in one.weights.items())


def test_others_are_refused() -> None:
    with pytest.raises(UserError, match="two checkpoints or more"):
        mean_of([checkpoint(0)])
    with pytest.raises(
        UserError, match=r"1\.ckpt is of another detector than 0\.ckpt: class_names"
    ):
        mean_of([checkpoint(0), checkpoint(1, class_names=["dog", "cat"])])
    short = checkpoint(1)
    weights = {key: value for key, value in short.weights.items() if key != "head.scales"}
    broken = Checkpoint(short.path, short.spec, weights, short.about, {})
    with pytest.raises(UserError, match=r"1\.ckpt beside 0\.ckpt: .*head\.scales"):
        mean_of([checkpoint(0), broken])

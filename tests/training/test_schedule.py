import math
from functools import partial

import pytest
import torch

from fcos_lightning.detector import DenseDetector, build_fcos
from fcos_lightning.errors import UserError
from fcos_lightning.training.schedule import Schedule


def official(**changes: object) -> Schedule:
    options: dict[str, object] = {
        "max_steps": 90_000,
        "bias_lr_factor": 2.0,
        "warmup": "constant",
        "warmup_steps": 500,
        "warmup_factor": 1 / 3,
        "milestones": [60_000, 80_000],
    }
    options |= changes
    return Schedule(partial(torch.optim.SGD, momentum=0.9), 0.01, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (0, 1 / 3),
        (499, 1 / 3),
        (500, 1.0),
        (59_999, 1.0),
        (60_000, 0.1),
        (79_999, 0.1),
        (80_000, 0.01),
        (89_999, 0.01),
    ],
)
def test_the_official_rate(step: int, factor: float) -> None:
    assert official().factor(step, 90_000) == pytest.approx(factor)


def test_linear_warmup_rises_to_the_full_rate() -> None:
    schedule = official(warmup="linear", warmup_steps=10, warmup_factor=0.0)
    rates = [schedule.factor(step, 90_000) for step in range(11)]
    assert rates == pytest.approx([step / 10 for step in range(11)])


def test_cosine_falls_from_full_to_final() -> None:
    schedule = official(decay="cosine", warmup_steps=100, final_factor=0.1)
    assert schedule.factor(100, 1100) == pytest.approx(1.0)
    assert schedule.factor(600, 1100) == pytest.approx((1 + 0.1) / 2)
    assert schedule.factor(1100, 1100) == pytest.approx(0.1)
    half_way = 0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2
    assert schedule.factor(350, 1100) == pytest.approx(half_way)


def test_shares_of_the_run_stand_for_steps() -> None:
    schedule = official(milestones=[2 / 3, 8 / 9], warmup_steps=0.1)
    assert [schedule.factor(step, 90) for step in (8, 9, 59, 60, 80)] == pytest.approx(
        [1 / 3, 1.0, 1.0, 0.1, 0.01]
    )


def test_the_rate_follows_the_batch() -> None:
    assert official().scaled_lr(16) == 0.01
    assert official().scaled_lr(4) == 0.0025


def test_biases_learn_twice_as_fast_without_decay_and_frozen_ones_not_at_all() -> None:
    detector = build_fcos(
        num_classes=2, backbone={"name": "resnet18", "norm": "trained", "frozen_stages": 2}
    )
    schedule = official(norm_weight_decay=0.0, backbone_lr_factor=0.5)
    groups = {group["name"]: group for group in schedule.parameter_groups(detector, 0.01)}
    names = {id(parameter): name for name, parameter in detector.named_parameters()}
    assert sum(len(group["params"]) for group in groups.values()) == sum(
        parameter.requires_grad for parameter in detector.parameters()
    )
    for key, group in groups.items():
        part, kind = key.split("/")
        for parameter in group["params"]:
            name = names[id(parameter)]
            assert name.startswith("backbone.") == (part == "backbone")
            assert name.endswith(".bias") == (kind == "bias")
            assert not name.startswith(("backbone.stages.0", "backbone.stages.1"))
    assert groups["rest/weight"]["lr"] == 0.01 and groups["rest/weight"]["weight_decay"] == 1e-4
    assert groups["rest/bias"]["lr"] == 0.02 and groups["rest/bias"]["weight_decay"] == 0.0
    assert groups["backbone/weight"]["lr"] == 0.005
    assert groups["rest/norm"]["weight_decay"] == 0.0


def test_the_optimiser_steps_at_the_scheduled_rate() -> None:
    detector = build_fcos(num_classes=1, backbone={"name": "tiny", "frozen_stages": 0})
    optimizer, rates = official(warmup_steps=2, milestones=[3]).configure(detector, 8, 5)
    seen = []
    for _ in range(4):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        rates.step()
    assert seen == pytest.approx([0.005 / 3, 0.005 / 3, 0.005, 0.0005])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_steps": None}, "one of max_steps and max_epochs"),
        ({"max_epochs": 3}, "one of max_steps and max_epochs"),
        ({"decay": "poly"}, "schedule.decay=poly"),
        ({"warmup": "slow"}, "schedule.warmup=slow"),
        ({"max_epochs": 3, "max_steps": -5}, "schedule.max_steps=-5: give at least 1"),
        ({"backbone_waits": 1.5}, "schedule.backbone_waits=1.5: give a whole number of optimiser"),
        ({"warmup_steps": 500.5}, "schedule.warmup_steps=500.5: give a whole number of optimiser"),
        ({"milestones": [0.5, 9.9]}, "schedule.milestones=9.9: give a whole number of optimiser"),
        ({"layer_lr_decay": 0}, "schedule.layer_lr_decay=0: give a number above 0 and at most 1"),
        ({"layer_lr_decay": 1.5}, "schedule.layer_lr_decay=1.5: give a number above 0 and at mos"),
    ],
)
def test_mistakes_are_named(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        official(**changes)


def learning(**changes: object) -> tuple[DenseDetector, Schedule]:
    torch.manual_seed(0)
    detector = build_fcos(
        num_classes=2,
        backbone={"name": "tiny", "norm": "trained", "frozen_stages": 0, "widths": [8, 8, 8, 8]},
        fpn={"channels": 8, "levels": [3, 4]},
        head={"num_convs": 1},
    )
    return detector, official(warmup_steps=0, milestones=[], **changes)


def steps(detector: DenseDetector, schedule: Schedule, number: int) -> set[str]:
    """Take steps of one gradient for all, and return the parts that moved."""
    before = {key: value.detach().clone() for key, value in detector.named_parameters()}
    optimizer, rate = schedule.configure(detector, 16, 10)
    for _ in range(number):
        for parameter in detector.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        rate.step()
    return {
        key.split(".")[0]
        for key, value in detector.named_parameters()
        if not torch.equal(value, before[key])
    }


def test_a_backbone_that_waits_does_not_move_until_its_step() -> None:
    for waits, number, parts in (
        (3, 3, {"fpn", "head"}),
        (3, 4, {"backbone", "fpn", "head"}),
        (0.5, 5, {"fpn", "head"}),
        (0.5, 6, {"backbone", "fpn", "head"}),
        (0, 1, {"backbone", "fpn", "head"}),
    ):
        detector, schedule = learning(backbone_waits=waits)
        assert steps(detector, schedule, number) == parts, (waits, number)


def test_each_stage_learns_at_a_share_of_the_one_behind_it() -> None:
    detector, schedule = learning(layer_lr_decay=0.5, backbone_lr_factor=0.1)
    groups = schedule.parameter_groups(detector, 1.0)
    rate_of = {id(p): group["lr"] for group in groups for p in group["params"]}
    stages = detector.backbone.stages
    for place, stage in enumerate(stages):
        expected = 0.1 * 0.5 ** (len(stages) - 1 - place)
        for name, parameter in stage.named_parameters():
            bias = 2.0 if name.endswith("bias") else 1.0
            assert rate_of[id(parameter)] == pytest.approx(bias * expected)
    for parameter in detector.head.parameters():
        assert rate_of[id(parameter)] in (1.0, 2.0)
    assert len(rate_of) == len(list(detector.parameters()))
    names = [group["name"] for group in groups]
    assert len(set(names)) == len(names)


def test_a_backbone_without_stages_has_one_rate() -> None:
    detector, schedule = learning(layer_lr_decay=0.5)
    detector.backbone = torch.nn.Conv2d(3, 8, 3)
    with pytest.raises(UserError, match="layer_lr_decay: Conv2d does not tell its stages"):
        schedule.parameter_groups(detector, 1.0)


@pytest.mark.parametrize("key", ["backbone_waits", "layer_lr_decay"])
def test_what_means_nothing_for_a_backbone_is_refused(key: str) -> None:
    with pytest.raises(UserError, match=rf"schedule\.{key}=-1: give a number of at least 0"):
        learning(**{key: -1})


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_a_run_goes_on_where_weights_lie_otherwise_in_memory(optimizer: str) -> None:
    """From a processor, where channels lie last, on a GPU, or in another precision."""
    made = getattr(torch.optim, optimizer)
    schedule = Schedule(
        partial(made, fused=True, **({"momentum": 0.9} if optimizer == "SGD" else {})),
        0.01,
        max_steps=9,
        reference_batch=1,
    )
    pixels = torch.randn(1, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    weights, states = [], []
    for layouts in (("channels_last",) * 3, ("channels_last", "contiguous_format") * 2):
        torch.manual_seed(0)
        net = torch.nn.Conv2d(4, 3, 3)
        state: dict[str, object] | None = None
        for layout in layouts[:3]:
            net = net.to(memory_format=getattr(torch, layout))
            own, _ = schedule.configure(net, 1, 9)
            if state is not None:
                own.load_state_dict(state)
            for _ in range(2):
                own.zero_grad()
                net(pixels).square().sum().backward()
                own.step()
            state = own.state_dict()
        weights.append(net.weight.detach())
        states.append(own.state[net.weight])
    torch.testing.assert_close(weights[0], weights[1])
    torch.testing.assert_close(states[0], states[1])

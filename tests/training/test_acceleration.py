"""Layouts, compilation and recomputation that a run asks for; what it says of its memory."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.accelerators import CPUAccelerator, CUDAAccelerator, MPSAccelerator

from fcos_lightning import build_fcos
from fcos_lightning.detector import FCOS
from fcos_lightning.errors import UserError
from fcos_lightning.training import acceleration
from fcos_lightning.training.acceleration import accelerate, peak_memory


def small_detector(**backbone: object) -> FCOS:
    return build_fcos(
        num_classes=1, backbone={"name": "resnet18", **backbone}, fpn={"channels": 16}
    ).train()


def on(accelerator: type, precision: str = "32-true") -> SimpleNamespace:
    return SimpleNamespace(accelerator=accelerator.__new__(accelerator), precision=precision)


@pytest.mark.parametrize(
    ("accelerator", "precision", "expected"),
    [
        (CPUAccelerator, "32-true", True),
        (CUDAAccelerator, "bf16-mixed", True),
        (CUDAAccelerator, "16-mixed", True),
        (CUDAAccelerator, "32-true", False),
        (MPSAccelerator, "32-true", False),
    ],
)
def test_auto_lays_memory_out_as_the_device_likes_it(
    accelerator: type, precision: str, expected: bool
) -> None:
    detector = small_detector()
    assert accelerate(detector, on(accelerator, precision)) is expected
    weight = detector.head.cls_logits.weight
    assert detector.backbone.stages[2][0].conv1.weight.is_contiguous() is not expected
    assert weight.shape[1] == 16


@pytest.mark.parametrize("chosen", [True, False])
def test_what_is_asked_for_goes_before_auto(chosen: bool) -> None:
    detector = small_detector()
    assert accelerate(detector, on(CPUAccelerator), channels_last=chosen) is chosen
    assert detector.backbone.stages[2][0].conv1.weight.is_contiguous() is not chosen


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(UserError, match="channels_last=sometimes: give auto, true or false"):
        accelerate(small_detector(), on(CPUAccelerator), channels_last="sometimes")


def test_compilation_and_recomputation_are_done_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[FCOS] = []
    monkeypatch.setattr(acceleration, "compile_detector", compiled.append)
    detector = small_detector()
    accelerate(detector, on(CPUAccelerator))
    assert not compiled and not detector.head.recompute
    accelerate(detector, on(CPUAccelerator), compiled=True, activation_checkpointing=True)
    assert compiled == [detector]
    assert detector.head.recompute and detector.backbone.recompute == {2, 3, 4}


def test_recomputation_that_would_save_nothing_is_refused() -> None:
    detector = build_fcos(
        num_classes=1,
        backbone={"name": "resnet18", "norm": "trained"},
        fpn={"channels": 16},
        head={"norm": "batch"},
    ).train()
    # The stem and the first stage are frozen, and learn nothing to save memory for.
    with pytest.raises(UserError, match="activation_checkpointing=true: every part"):
        accelerate(detector, on(CPUAccelerator), activation_checkpointing=True)


def test_the_peak_is_at_least_what_is_held() -> None:
    held = torch.ones(50_000_000)
    said = peak_memory(on(CPUAccelerator))
    assert said is not None and float(said.split()[0]) >= 4 * len(held) / 1e9


def test_the_peak_is_counted_in_the_units_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    usage = SimpleNamespace(ru_maxrss=3_000_000_000)
    monkeypatch.setattr(resource, "getrusage", lambda who: usage)
    for system, said in (("darwin", "3.0 GB of memory"), ("linux", "3072.0 GB of memory")):
        monkeypatch.setattr(acceleration.sys, "platform", system)
        assert peak_memory(on(CPUAccelerator)) == said

"""What is looked at before it is saved; that a run stops for it is shown in tests/cli."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fcos_lightning.training.callbacks.guard import NonFiniteLoss, StopOnNonFinite

ONE, NONE = torch.ones(2), torch.tensor([1.0, float("nan")])
STEP: Any = SimpleNamespace(world_size=1, global_step=7)
MODULE: Any = SimpleNamespace(device=torch.device("cpu"))


def content(place: str, value: torch.Tensor) -> dict[str, Any]:
    """A checkpoint with a value in one of its places."""
    made = {name: {"w": ONE, "count": torch.tensor(3)} for name in ("state_dict", "average")}
    made["current_model_state"] = made.pop("average")
    state = {"exp_avg": ONE, "step": torch.tensor(5.0)}
    if place == "optimizer":
        state["exp_avg"] = value
    elif place:
        made[place]["w"] = value
    return {**made, "optimizer_states": [{"state": {0: state}}]}


@pytest.mark.parametrize("place", ["state_dict", "current_model_state", "optimizer"])
@pytest.mark.parametrize("value", [NONE, NONE.half(), ONE / 0])
def test_what_is_not_finite_is_not_saved(place: str, value: torch.Tensor, tmp_path: Path) -> None:
    guard = StopOnNonFinite(tmp_path)
    guard.on_save_checkpoint(STEP, MODULE, content(place, ONE))
    with pytest.raises(NonFiniteLoss, match=r"after step 7.*there is no checkpoint yet"):
        guard.on_save_checkpoint(STEP, MODULE, content(place, value))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/last.ckpt").touch()
    with pytest.raises(NonFiniteLoss, match=r"last\.ckpt of before is intact"):
        guard.on_save_checkpoint(STEP, MODULE, content(place, value))


def test_other_ranks_have_a_say() -> None:
    """All ranks leave at the same step, else one waits for the others in vain."""

    class Strategy:
        def reduce(self, value: torch.Tensor, reduce_op: str) -> torch.Tensor:
            assert reduce_op == "sum"
            return value + 1.0  # another rank's are not finite

    two: Any = SimpleNamespace(world_size=2, global_step=7, strategy=Strategy())
    with pytest.raises(NonFiniteLoss):
        StopOnNonFinite().on_save_checkpoint(two, MODULE, content("", ONE))

"""What all ranks have to decide together, at the same step."""

from __future__ import annotations

import torch
import torch.distributed as dist


class Agreement:
    """Lets the ranks compare small numbers on the processor.

    The ranks talk through gloo whatever the devices use: the devices are not made to wait. Every
    rank has to make this object and each call at the same place.

    Args:
        world_size: number of processes.
    """

    def __init__(self, world_size: int) -> None:
        self.group: dist.ProcessGroup | None = None
        if world_size > 1:
            self.group = dist.new_group(backend="gloo")  # type: ignore[assignment]  # every rank is in

    def highest(self, value: int) -> int:
        """Return the largest of the ranks' values."""
        return self._reduced(value, dist.ReduceOp.MAX)

    def lowest(self, value: int) -> int:
        """Return the smallest of the ranks' values."""
        return self._reduced(value, dist.ReduceOp.MIN)

    def _reduced(self, value: int, how: dist.ReduceOp.RedOpType) -> int:
        if self.group is None:
            return value
        number = torch.tensor(value)
        dist.all_reduce(number, op=how, group=self.group)
        return int(number)

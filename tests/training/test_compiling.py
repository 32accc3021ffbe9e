"""What torch.compile cannot translate whole is an error, not a slower run."""

import pytest
import torch
from torch import Tensor, nn

from fcos_lightning import Target, build_fcos
from fcos_lightning.structures import Images, Targets
from fcos_lightning.training.compiling import compile_detector


class Breaking(nn.Module):
    """A backbone that no single graph can hold."""

    channels, strides = (4,), (8,)

    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Conv2d(3, 4, 3, 8, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = self.only(images)
        torch._dynamo.graph_break()
        return [maps]


def test_a_net_that_breaks_the_graph_is_refused() -> None:
    torch._dynamo.reset()
    detector = build_fcos(
        num_classes=1,
        backbone=Breaking(),
        fpn={"levels": [3], "channels": 8},
        head={"num_convs": 1},
    ).train()
    images = Images(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.tensor([[32, 32]]))
    detector(images)
    compile_detector(detector, backend="eager")
    with pytest.raises(torch._dynamo.exc.Unsupported):
        detector(images)


@pytest.mark.parametrize("part", ["assigner", "loss"])
def test_a_part_that_breaks_the_graph_is_refused(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch._dynamo.reset()
    detector = build_fcos(
        num_classes=1,
        backbone={"name": "tiny"},
        fpn={"levels": [3], "channels": 8},
        head={"num_convs": 1},
    ).train()
    images = Images(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.tensor([[32, 32]]))
    targets = Targets.stack([Target(torch.tensor([[4.0, 4, 20, 20]]), torch.tensor([0]))])
    kind = type(getattr(detector, part))
    plain = kind.__call__

    def breaking(*arguments: object) -> object:
        torch._dynamo.graph_break()
        return plain(*arguments)

    monkeypatch.setattr(kind, "__call__", breaking)
    points, prediction = detector.grid(images), detector(images)
    compile_detector(detector, backend="eager")
    with pytest.raises(torch._dynamo.exc.Unsupported):
        detector.loss(prediction, detector.assign(points, targets), points)

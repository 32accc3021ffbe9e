"""A detector whose dense prediction an engine computes; torch decodes it."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from fcos_lightning.detector import DenseDetector
from fcos_lightning.inference.engines.engine import Engine
from fcos_lightning.structures import Images, Prediction

#: Of the graph, in this order; ``docs/deployment.md`` has their shapes and units.
INPUTS = ("pixels", "sizes_hw")


def parts_of(prediction: Prediction) -> dict[str, Tensor]:
    """Return what every method predicts, as far as this one does: the outputs of the graph.

    What a head of its own kind gives beyond that is for its loss.
    """
    named = {one.name: getattr(prediction, one.name) for one in fields(Prediction)}
    return {name: value for name, value in named.items() if value is not None}


class EngineDetector(DenseDetector):
    """A detector in all but its forward pass, which an engine does.

    Normalisation, backbone, FPN and head are the graph's. Points and decoding are the detector's
    own, so equal predictions give equal boxes.

    Args:
        detector: of which the graph was made.
        engine: that computes what ``export_onnx`` gives.
    """

    def __init__(self, detector: DenseDetector, engine: Engine) -> None:
        super().__init__(
            detector.backbone,
            detector.fpn,
            detector.head,
            grid=detector.grid,
            assigner=detector.assigner,
            loss=detector.loss,
            decoder=detector.decoder,
            mean=detector.mean.flatten().tolist(),
            std=detector.std.flatten().tolist(),
            channel_order=detector.channel_order,
            padding="beyond" if detector.pad_beyond else "multiple",
            class_names=detector.class_names,
            category_ids=detector.category_ids,
            spec=detector.spec,
        )
        self.engine = engine

    def forward(self, images: Images) -> Prediction:
        """Return the prediction for a batch of padded images, on the device they lie on."""
        given: list[Tensor] = [images.pixels, images.sizes_hw]
        feed = {name: part.cpu().numpy() for name, part in zip(INPUTS, given, strict=True)}
        found = self.engine(feed).items()
        return Prediction(
            **{name: torch.from_numpy(one).to(images.pixels.device) for name, one in found}
        )

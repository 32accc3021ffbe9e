"""A detector whose dense prediction ONNX Runtime computes."""

from __future__ import annotations

from dataclasses import fields
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.extras import pip_install
from fcos_lightning.structures import Images, Prediction

#: Of the model, in this order; ``docs/deployment.md`` has their shapes and units.
INPUTS = ("pixels", "sizes_hw")


def parts_of(prediction: Prediction) -> dict[str, Tensor]:
    """Return what every method predicts, as far as this one does: the outputs of the model.

    What a head of its own kind gives beyond that is for its loss.
    """
    named = {one.name: getattr(prediction, one.name) for one in fields(Prediction)}
    return {name: value for name, value in named.items() if value is not None}


class OnnxDetector(DenseDetector):
    """A detector in all but its forward pass, which an ONNX model does.

    Normalisation, backbone, FPN and head are the model's. Points and decoding are the detector's
    own, so equal predictions give equal boxes.

    Args:
        detector: of which the model was made.
        model: as ``export_onnx`` gives it.

    Raises:
        UserError: if ONNX Runtime is not installed or cannot run the model.
    """

    def __init__(self, detector: DenseDetector, model: bytes) -> None:
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
        self.session = onnx_session(model)

    def forward(self, images: Images) -> Prediction:
        """Return the prediction for a batch of padded images, on the device they lie on."""
        given: list[Tensor] = [images.pixels, images.sizes_hw]
        feed = {name: part.cpu().numpy() for name, part in zip(INPUTS, given, strict=True)}
        names = [output.name for output in self.session.get_outputs()]
        found = zip(names, self.session.run(names, feed), strict=True)
        return Prediction(**{k: torch.from_numpy(v).to(images.pixels.device) for k, v in found})


def check_packages() -> None:
    """Make sure that all packages of the ``onnx`` extra are there.

    Raises:
        UserError: if one is missing.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UserError(
            f"ONNX needs {' and '.join(missing)}, which is not installed; {pip_install('onnx')}"
        )


def onnx_session(model: bytes) -> Any:  # noqa: ANN401  # an onnxruntime.InferenceSession
    """Make a model ready to run: on a GPU where this ONNX Runtime is one for GPUs."""
    check_packages()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    known = {"CUDAExecutionProvider": {"use_tf32": "0"}, "CPUExecutionProvider": {}}
    available = onnxruntime.get_available_providers()
    providers = [(name, chosen) for name, chosen in known.items() if name in available]
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # of its own kinds, none of which it exports
        said = str(error).strip().splitlines()[0]
        raise UserError(
            f"onnxruntime {onnxruntime.__version__} cannot run this detector: {said}"
        ) from error

"""A checkpoint, read once: what its detector is made of, its weights, and what is said about them.

Our own files and those of other projects end up as the same value here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from fcos_lightning.checkpoints.fitting import Unfilled, check_fit, check_same
from fcos_lightning.checkpoints.native import FORMAT, KEY, PREFIX, checked, plain_content
from fcos_lightning.checkpoints.plain_file import SUFFIX, apart
from fcos_lightning.checkpoints.published import checkpoint_file, recipe_for
from fcos_lightning.checkpoints.starting import Started, start
from fcos_lightning.checkpoints.translation.foreign import LAYOUTS, translated
from fcos_lightning.detector import DenseDetector, build_fcos
from fcos_lightning.detector.parts import Part
from fcos_lightning.errors import UserError, shown
from fcos_lightning.storage.replacing import write_whole
from fcos_lightning.weights.reading import read_file

#: Ends of names of what ``fcos-convert`` writes for other programs: no weights can be read of them.
_CONVERTED = (".onnx", ".xml", ".pt2")
#: By their keys in ``build_detector``.
PARTS = ("backbone", "fpn", "grid", "head", "assigner", "loss", "decoder", "input")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file holds about one detector.

    Attributes:
        path: of the file.
        spec: arguments of ``build_fcos``, plain; under ``custom`` the parts that are code of
            somebody's own, which no file carries.
        weights: under the detector's own names; of a run with EMA these are the averaged ones.
        about: plain values on how it was trained and evaluated: ``shorter_side``, ``data`` and so
            on, as far as the file says.
        run: what else a run keeps, by Lightning's keys and ours; empty where there is no run.
    """

    path: Path
    spec: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    about: Mapping[str, Any]
    run: Mapping[str, Any]

    @classmethod
    def read(cls, path: str | Path, recipe: str | None = None) -> Checkpoint:
        """Read a file of ours or of another project, without running what it may hold.

        Args:
            path: of the file, or the name of a published one, as
                ``official/FCOS_imprv_R_50_FPN_1x``, which is fetched once.
            recipe: for a foreign file whose tensors leave a choice, see the files about layouts.

        Raises:
            UserError: if there is no such file, it is no checkpoint that is known here, or a key
                of a foreign one has no place in the detector.
        """
        recipe, path = recipe_for(path, recipe), checkpoint_file(path)
        if path.is_dir():
            raise UserError(
                f"checkpoint {path}: is a folder; give a file, as checkpoints/best.ckpt"
            )
        if path.suffix.lower() in _CONVERTED:
            raise UserError(
                f"checkpoint {path}: is a file for other programs (fcos-predict, fcos-test and "
                "Predictor.load run .onnx and .xml); here, give the checkpoint that it was made of"
            )
        found = plain_content(path) if path.suffix == SUFFIX else read_file(path, "checkpoint")
        if not isinstance(found, dict) or KEY not in found:
            found = _foreign_content(found, path, recipe)
        elif recipe is not None:
            raise UserError(f"recipe={recipe}: checkpoint {path} says itself how it was made")
        with _naming(path):
            content = checked(found)
        description = dict(content.pop(KEY))
        spec = description.pop("spec")
        description.pop("format")
        state = content.pop("state_dict")
        weights = {k[len(PREFIX) :]: v for k, v in state.items() if k.startswith(PREFIX)}
        return cls(path, spec, weights, description, content)

    @property
    def layout(self) -> str:
        """Whose file it is, for people."""
        return str(self.about.get("layout", "fcos-train"))

    def detector(
        self,
        device: torch.device | str = "cpu",
        **given: Mapping[str, Any] | Part | nn.Module | None,
    ) -> DenseDetector:
        """Return the detector in evaluation mode.

        Args:
            device: where it shall lie.
            **given: by their keys in ``build_detector``, parts to use instead of the checkpoint's,
                or options that differ from those it says.

        Raises:
            UserError: if a part is code that was not given, or the weights do not fit.
        """
        for key in given:
            if key not in PARTS:
                raise UserError(f"{key}= is no part of a detector; there are", choices=PARTS)
        spec = dict(self.spec)
        custom = dict(spec.pop("custom", {}))
        for key, choice in given.items():
            if isinstance(choice, Mapping) and key not in custom:
                spec[key] = {**(spec.get(key) or {}), **choice}
            elif choice is not None and not isinstance(choice, Mapping):
                spec[key] = choice
                custom.pop(key, None)
        for key, name in sorted(custom.items()):
            part = shown(key, 30)[1:-1]
            package = shown(str(name).split(".")[0], 30)[1:-1]
            group = "model" if key in ("backbone", "fpn") else "method"
            raise UserError(
                f"checkpoint {self.path}: its {part} is {shown(name)[1:-1]}, code that it does not "
                f"carry; pass it as load_detector(path, {part}=...), or name its YAML file, as "
                f"--config-dir DIR {group}=NAME trusted_packages=[{package}]"
            )
        # All weights are in the file, whatever it says: nothing is fetched or read from elsewhere.
        if isinstance(spec.get("backbone"), dict):
            spec["backbone"] = {**spec["backbone"], "weights": None}
        plain = not any(isinstance(one, Part | nn.Module) for one in spec.values())
        with _naming(self.path):
            if plain:
                check_fit(spec, self.weights)
            with Unfilled():
                detector = build_fcos(**spec)
        self.fill(detector)
        if self.about.get("channels_last"):
            detector = detector.to(memory_format=torch.channels_last)
        return detector.to(device).eval()

    def fill(self, detector: nn.Module) -> None:
        """Give a detector all the weights.

        Raises:
            UserError: if one is missing, left over, or of another shape.
        """
        with _naming(self.path):
            check_same(detector.state_dict(), self.weights)
        detector.load_state_dict(dict(self.weights))

    def start(self, detector: DenseDetector) -> Started:
        """Give a detector the weights that fit it, those of classes by their names.

        Returns:
            What was taken over. The detector's others keep their fresh values: those of another
            shape, and those that the checkpoint lacks.

        Raises:
            UserError: if nothing fits.
        """
        started = start(detector, self.weights, self.spec)
        if started is None:
            raise UserError(f"init_from={self.path}: not one of its weights fits this model")
        return started

    def write(self, path: Path) -> None:
        """Write weights and description as our plain format, ``.safetensors``.

        Raises:
            UserError: if it cannot be written; a file of that name is replaced at once or stays.
        """
        description = {"format": FORMAT, "spec": dict(self.spec), **self.about}
        write_whole(save(apart(self.weights), {KEY: json.dumps(description)}), path)


def load_detector(
    path: str | Path,
    device: torch.device | str = "cpu",
    decoder: Mapping[str, Any] | Part | None = None,
    recipe: str | None = None,
    **parts: Mapping[str, Any] | Part | nn.Module,
) -> DenseDetector:
    """Return the detector of a checkpoint of ours or of another project, in evaluation mode.

    Known are the official code's, AdelaiDet's, mmdetection's, torchvision's, detectron2's and
    rosinality's.

    Args:
        path: of the checkpoint, or the name of a published one, as
            ``official/FCOS_imprv_R_50_FPN_1x``, which is fetched once.
        device: where the detector shall lie.
        decoder: a decoder, or options to use instead of the checkpoint's.
        recipe: for a foreign file whose tensors leave a choice, as ``plain`` for the official
            code's first version; the files about layouts state them, and the default.
        **parts: further parts of your own (``backbone``, ``fpn``, ``head``, ``assigner``, ``loss``)
            that the detector was trained with.

    Raises:
        UserError: if the file is not a checkpoint, its weights do not fit its description, or it
            needs a part that was not given.
    """
    return Checkpoint.read(path, recipe).detector(device, decoder=decoder, **parts)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say of which file an error is."""
    try:
        yield
    except UserError as error:
        raise UserError(f"checkpoint {path}: {error}") from error


def _foreign_content(found: object, path: Path, recipe: str | None) -> dict[str, Any]:
    """Return what a checkpoint of ours with the same detector would hold."""
    known = translated(found, path, recipe)
    if known is None:
        names = ", ".join(layout.NAME for layout in LAYOUTS)
        raise UserError(
            f"checkpoint {path}: not written by fcos-train (it lacks the key {KEY!r}), nor of a "
            f"layout known here ({names}); give a best.ckpt or last.ckpt of a run folder"
        )
    layout, translation = known
    shorter, longer = translation.sides
    return {
        KEY: {
            "format": FORMAT,
            "spec": translation.spec,
            "layout": layout,
            "shorter_side": shorter,
            "longer_side": longer,
        },
        "state_dict": {f"{PREFIX}{key}": value for key, value in translation.weights.items()},
    }

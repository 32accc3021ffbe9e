"""The predictor of a checkpoint, as a command's words want it."""

from __future__ import annotations

from omegaconf import DictConfig

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.inference import Predictor
from fcos_lightning.inference.asked import said_sides, sides_of
from fcos_lightning.inference.engines.engine import backend_for, is_file_for_engines
from fcos_lightning.runs.config.composed import given_words
from fcos_lightning.runs.objects.detectors import converted_from, detector_from, on_backend

_OPTIONS = (
    *("device", "score_threshold", "thresholds", "channels_last", "batch_size"),
    *("tiles", "tiles_overlap"),
)


def predictor_from(config: DictConfig, path: str, callers: int = 1, **instead: object) -> Predictor:
    """Return the predictor of a checkpoint, or of a file that it was converted into.

    Args:
        config: of a command that has options of ``Predictor`` among its keys.
        path: of either, or the name of a published checkpoint.
        callers: of an engine, see ``Engine``.
        **instead: options that the command itself decides on.

    Raises:
        UserError: if the checkpoint cannot be read, or an option is out of its range.
    """
    options = {key: config[key] for key in _OPTIONS if key in config}
    if options.get("thresholds") is not None and "score_threshold" not in given_words():
        options["score_threshold"] = 0.0  # the file has one for classes that it does not name
    options |= instead
    sides = {key: config[key] for key in ("shorter_side", "longer_side")}
    backend = backend_for(path, config.backend)
    if is_file_for_engines(path):
        file = converted_from(path, backend, config.device, callers)
        return Predictor(file, *file.sides(**sides), **options)
    checkpoint = Checkpoint.read(path, config.recipe)
    shorter_side, longer_side = sides_of(checkpoint, **sides)
    detector = detector_from(checkpoint, config)
    said = said_sides(checkpoint.about)
    detector, _ = on_backend(detector, backend, said, config.device, callers)
    return Predictor(detector, shorter_side, longer_side, **options)

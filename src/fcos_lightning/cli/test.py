"""``fcos-test``: AP of a checkpoint."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fcos_lightning.cli.app import fail, run
from fcos_lightning.errors import UserError
from fcos_lightning.printing import LONGEST_LINE, printable

if TYPE_CHECKING:
    from pathlib import Path

    from omegaconf import DictConfig

    from fcos_lightning.detector import FCOS
    from fcos_lightning.training.evaluate import ViewSizes


def main() -> None:
    """Entry point of the command."""
    # The data of a checkpoint has to be among the choices before Hydra composes them, so that
    # overrides as data.root= apply to it. The other processes of a run on several devices are
    # started with this one's words.
    given = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    if "ckpt" in given and given.get("data", "from_checkpoint") == "from_checkpoint":
        from fcos_lightning.checkpoints import read_checkpoint
        from fcos_lightning.cli.plain import FROM_CHECKPOINT, offer_data_of
        from fcos_lightning.cli.published import checkpoint_file

        try:
            description = read_checkpoint(checkpoint_file(given["ckpt"]))["fcos"]
        except UserError as error:
            fail(error)
        try:
            offered = offer_data_of(description)
        except UserError as error:
            fail(UserError(f"ckpt={given['ckpt']}: {error}"))
        if not offered:
            fail(UserError(f"ckpt={given['ckpt']}: it does not say which data; give data=NAME"))
        if "data" not in given:
            # Beside the other override: words after an option would be taken for its values.
            sys.argv.insert(sys.argv.index(f"ckpt={given['ckpt']}"), f"data={FROM_CHECKPOINT}")
    run(test, "test")


def test(config: DictConfig) -> None:
    """Evaluate a checkpoint, print the table, and write metrics and predictions."""
    # Imported here, because this costs seconds that help and mistakes should not.
    from rich.console import Console

    from fcos_lightning.checkpoints.plain_file import write_file
    from fcos_lightning.cli.app import is_first_process, required
    from fcos_lightning.cli.evaluating import evaluation_settings, quicker
    from fcos_lightning.cli.published import checkpoint_file
    from fcos_lightning.cli.run_folder import new_run_folder
    from fcos_lightning.cli.session import make_datamodule, quiet
    from fcos_lightning.data.collate import Collate
    from fcos_lightning.evaluation.report import print_table, write_metrics, write_predictions
    from fcos_lightning.training.evaluate import evaluate

    given = required(
        config, "ckpt", "give a checkpoint, as ckpt=runs/NAME/TIME/checkpoints/best.ckpt"
    )
    if config.backend not in ("torch", "onnx"):
        raise UserError(f"backend={config.backend}: give torch or onnx")
    path = checkpoint_file(given)
    quiet()
    detector = _loaded(config, given, path)
    if detector.class_names is None or detector.category_ids is None:
        raise UserError(f"ckpt={path}: it does not name its classes, so it cannot be measured")
    datamodule = make_datamodule(config)
    datamodule.collate = Collate(detector.size_multiple)
    datamodule.read_val(detector.class_names, detector.category_ids)
    views = view_sizes(config)
    model: bytes | None = None
    if config.backend == "onnx":
        from fcos_lightning.deploy import OnnxDetector, export_onnx

        sides = {key: config.data.get(key) for key in ("shorter_side", "longer_side")}
        model = export_onnx(detector, **sides)
        detector = OnnxDetector(detector, model)
    else:
        detector = quicker(detector, config.trainer.accelerator, config.channels_last)
    folder = new_run_folder(config.run_dir, config.name)
    summary, table, evaluation = evaluate(
        detector, datamodule, evaluation_settings(config), views=views
    )
    if not is_first_process():
        return
    if model is not None:
        write_file(model, folder / "model.onnx")
    write_metrics(summary, folder / "metrics.json")
    write_predictions(table, datamodule.val.truth, folder / "predictions.json")
    print_table(summary, Console())
    for file in sorted(evaluation.unreadable):
        print(
            f"could not be read and counts as without detections: {printable(file)}",
            file=sys.stderr,
        )
    written = "metrics.json and predictions.json"
    if model is not None:
        written = "metrics.json, predictions.json and model.onnx"
    print(printable(f"{path.name} on {datamodule.val.name}; {written} in {folder}", LONGEST_LINE))


def _loaded(config: DictConfig, given: str, path: Path) -> FCOS:
    """Return the detector of a checkpoint, its decoder as the user wants it.

    Args:
        config: of the command.
        given: the checkpoint as the user named it.
        path: of its file.
    """
    import torch
    from omegaconf import OmegaConf

    from fcos_lightning.checkpoints import load_weights, read_checkpoint
    from fcos_lightning.checkpoints.native import KEY, detector_of
    from fcos_lightning.cli.instantiate import make
    from fcos_lightning.cli.published import recipe_for

    decoder = {k: v for k, v in (config.decoder or {}).items() if v is not None}
    content = read_checkpoint(path, recipe_for(given, config.get("recipe")))
    if config.get("model") is not None:
        spec = content[KEY]["spec"]
        if decoder:
            config = OmegaConf.merge(config, {"model": {"decoder": decoder}})  # type: ignore[assignment]  # of two mappings
        detector: FCOS = make(
            config, "model", class_names=spec["class_names"], category_ids=spec["category_ids"]
        )
        load_weights(detector, content, path)
    else:
        detector = detector_of(content, path, decoder=decoder)
    if content[KEY].get("channels_last"):
        detector = detector.to(memory_format=torch.channels_last)
    return detector


def view_sizes(config: DictConfig) -> ViewSizes | None:
    """Return the sizes that ``test.tta`` asks for; None: the one of the data."""
    from fcos_lightning.training.evaluate import ViewSizes

    if config.test.tta is None:
        return None
    if config.test.tta != "multiscale":
        raise UserError(f"test.tta={config.test.tta}: give multiscale, or null for one size")
    return ViewSizes(tuple(config.test.sizes), config.test.longer_side, config.test.flip)


if __name__ == "__main__":
    main()

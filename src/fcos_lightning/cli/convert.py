"""``fcos-convert``: a checkpoint of any source in our plain format, another layout, or as ONNX."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fcos_lightning.cli.app import required, run
from fcos_lightning.cli.words import quoted_path
from fcos_lightning.errors import UserError
from fcos_lightning.printing import LONGEST_LINE, printable

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Entry point of the command."""
    sys.argv[1:] = [quoted_path(word, ("ckpt", "out")) for word in sys.argv[1:]]
    run(convert, "convert")


def convert(config: DictConfig) -> None:
    """Read a checkpoint, write it in another form, and say what it is."""
    given = required(config, "ckpt", "give a checkpoint of any source, as ckpt=FCOS_R_50_1x.pth")
    wanted = required(config, "out", "give a file to write, as out=model.safetensors")
    if config.layout not in ("plain", "torchvision"):
        raise UserError(f"layout={config.layout}: give plain or torchvision")
    other = ".onnx" if config.layout == "plain" else ".pth"
    endings = (".safetensors", other)

    # Imported here, because this costs seconds that help and mistakes should not.
    from pathlib import Path

    from fcos_lightning.cli.published import checkpoint_file, recipe_for

    source, out = checkpoint_file(str(Path(given).expanduser())), Path(wanted).expanduser()
    if out.suffix not in endings:
        raise UserError(
            f"out={wanted}: with layout={config.layout} give a name ending in "
            f"{' or '.join(endings)}"
        )
    if out.is_dir():
        raise UserError(f"out={wanted}: is a folder; give a file, as {out}/model{endings[0]}")
    if out.exists() and source.exists() and out.samefile(source):
        raise UserError(f"out={wanted}: is the checkpoint itself; give another file")

    from fcos_lightning.checkpoints import load_detector
    from fcos_lightning.checkpoints.native import KEY, detector_of, read_checkpoint
    from fcos_lightning.checkpoints.plain_file import write_file, write_plain, write_weights
    from fcos_lightning.checkpoints.torchvision import for_torchvision

    content = read_checkpoint(source, recipe_for(given, config.recipe))
    if out.suffix == ".onnx":
        from fcos_lightning.deploy import export_onnx

        sides = {key: content[KEY].get(key) for key in ("shorter_side", "longer_side")}
        write_file(export_onnx(detector_of(content, source), **sides), out)
    elif config.layout == "plain":
        write_plain(content, out)
        load_detector(out)  # what was written can be read
    else:
        weights, otherwise = for_torchvision(content, source)
        write_weights(weights, out)
        if otherwise:
            note = f"note: torchvision sets otherwise: {', '.join(otherwise)}"
            print(printable(note, LONGEST_LINE), file=sys.stderr)
    layout = content[KEY].get("layout", "fcos-train")
    spec = content[KEY]["spec"]
    backbone = (spec.get("backbone") or {}).get("name", "resnet50")
    line = f"{source.name} ({layout}): {backbone}, {spec['num_classes']} classes, in {out}"
    print(printable(line, LONGEST_LINE))


if __name__ == "__main__":
    main()

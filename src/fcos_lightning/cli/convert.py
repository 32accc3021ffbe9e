"""``fcos-convert``: a checkpoint of any source in our plain format, another layout, or as ONNX."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fcos_lightning.errors import UserError
from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.signals import stopped_in_one_line

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Entry point of the command."""
    with stopped_in_one_line():
        from fcos_lightning.cli.app import run
        from fcos_lightning.runs.config.words import as_list, plain_words, quoted

        files, words = plain_words(sys.argv[1:])
        given = any(word.startswith(("ckpt=", "average=")) for word in words)
        if len(files) == 1 and not given:
            words.append(quoted("ckpt", files[0]))
        elif files:
            words.append(as_list("average", files))
        sys.argv[1:] = words
        run(convert, "convert")


def convert(config: DictConfig) -> None:
    """Read a checkpoint, write it in another form, and say what it is."""
    from fcos_lightning.cli.app import required
    from fcos_lightning.runs.config.kinds import check_kinds

    check_kinds(config)
    if config.average and config.ckpt is not None:
        raise UserError("ckpt= is one checkpoint, average= several: give one of the two")
    several = [str(one) for one in config.average]
    given = (
        several[0]
        if several
        else required(config, "ckpt", "give a checkpoint of any source, as ckpt=FCOS_R_50_1x.pth")
    )
    wanted = required(config, "out", "give a file to write, as out=model.safetensors")
    if config.layout not in ("plain", "torchvision"):
        raise UserError(f"layout={config.layout}: give plain or torchvision")
    other = ".onnx" if config.layout == "plain" else ".pth"
    endings = (".safetensors", other)

    # Imported here, because this costs seconds that help and mistakes should not.
    from pathlib import Path

    from fcos_lightning.checkpoints.published import checkpoint_file, recipe_for

    source, out = checkpoint_file(str(Path(given).expanduser())), Path(wanted).expanduser()
    if out.suffix not in endings:
        raise UserError(
            f"out={wanted}: with layout={config.layout} give a name ending in "
            f"{' or '.join(endings)}"
        )
    if out.is_dir():
        raise UserError(f"out={wanted}: is a folder; give a file, as {out}/model{endings[0]}")
    sources = [source, *(checkpoint_file(str(Path(one).expanduser())) for one in several[1:])]
    if out.exists() and any(one.exists() and out.samefile(one) for one in sources):
        raise UserError(f"out={wanted}: is the checkpoint itself; give another file")

    from fcos_lightning.checkpoints import Checkpoint
    from fcos_lightning.checkpoints.averaging import mean_of
    from fcos_lightning.checkpoints.layouts.torchvision_fcos import for_torchvision
    from fcos_lightning.checkpoints.plain_file import write_weights
    from fcos_lightning.runs.objects.detectors import detector_from
    from fcos_lightning.storage.replacing import write_whole

    read = [
        Checkpoint.read(one, recipe_for(name, config.recipe))
        for one, name in zip(sources, several or [given], strict=True)
    ]
    checkpoint = mean_of(read) if several else read[0]
    if out.suffix == ".onnx":
        from fcos_lightning.inference import export_onnx

        sides = {key: checkpoint.about.get(key) for key in ("shorter_side", "longer_side")}
        write_whole(export_onnx(detector_from(checkpoint, config), **sides), out)
    elif config.layout == "plain":
        checkpoint.write(out)
        written = Checkpoint.read(out)  # what was written can be read
        if not written.spec.get("custom"):
            written.detector()
    else:
        weights, otherwise = for_torchvision(checkpoint.spec, checkpoint.weights, source)
        write_weights(weights, out)
        if otherwise:
            note = f"note: torchvision sets otherwise: {', '.join(otherwise)}"
            print(printable(note, LONGEST_LINE), file=sys.stderr)
    spec, layout = checkpoint.spec, checkpoint.layout
    backbone = (spec.get("custom") or {}).get("backbone") or (spec.get("backbone") or {}).get(
        "name", "resnet50"
    )
    name = f"the mean of {len(sources)} checkpoints" if several else source.name
    line = f"{name} ({layout}): {backbone}, {spec['num_classes']} classes, in {out}"
    print(printable(line, LONGEST_LINE))


if __name__ == "__main__":
    main()

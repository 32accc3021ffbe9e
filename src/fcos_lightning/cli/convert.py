"""``fcos-convert``: a checkpoint in our plain format, another layout, or for other programs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fcos_lightning.errors import UserError
from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.signals import stopped_in_one_line

if TYPE_CHECKING:
    from omegaconf import DictConfig


#: Files that other programs run.
_FOR_PROGRAMS = (".onnx", ".xml", ".pt2")


def main() -> None:
    """Entry point of the command."""
    with stopped_in_one_line():
        from fcos_lightning.cli.app import run
        from fcos_lightning.runs.config.words import text_of

        given = {word.partition("=")[0]: text_of(word) for word in sys.argv[1:] if "=" in word}
        if given.get("out", "").endswith((*_FOR_PROGRAMS, "/")) and "data" not in given:
            _offer_data_of_checkpoint(given)
        run(convert, "convert")


def _offer_data_of_checkpoint(given: dict[str, str]) -> None:
    """Let the data that a checkpoint names be composed, so that a file is compared on them."""
    from fcos_lightning.cli.app import fail
    from fcos_lightning.cli.test import read_once
    from fcos_lightning.data.stores.addresses import is_address
    from fcos_lightning.runs.config.description import FROM_CHECKPOINT, offer_data_of

    if "ckpt" not in given:
        return  # which is said later
    try:
        about = read_once(given["ckpt"], given.get("recipe")).about
        root = str((about.get("data") or {}).get("root"))
        # Nothing is fetched because a file says so.
        if (is_address(root) and "data.root" not in given) or not offer_data_of(about):
            return
    except UserError as error:
        fail(error)
    at = next(i for i, word in enumerate(sys.argv) if word.startswith("ckpt="))
    sys.argv.insert(at, f"data={FROM_CHECKPOINT}")


def convert(config: DictConfig) -> None:
    """Read a checkpoint, write it in another form, and say what it is."""
    from fcos_lightning.cli.app import required
    from fcos_lightning.runs.config.kinds import check_kinds

    check_kinds(config)
    given = required(config, "ckpt", "give a checkpoint of any source, as ckpt=FCOS_R_50_1x.pth")
    wanted = required(config, "out", "give a file to write, as out=model.safetensors")
    if config.layout not in ("plain", "torchvision"):
        raise UserError(f"layout={config.layout}: give plain or torchvision")
    others = _FOR_PROGRAMS if config.layout == "plain" else (".pth",)
    endings = (".safetensors", *others)

    # Imported here, because this costs seconds that help and mistakes should not.
    from pathlib import Path

    from fcos_lightning.checkpoints.published import checkpoint_file, recipe_for

    source, out = checkpoint_file(str(Path(given).expanduser())), Path(wanted).expanduser()
    page = wanted.endswith("/") and config.layout == "plain"
    if out.suffix not in endings and not page:
        raise UserError(
            f"out={wanted}: with layout={config.layout} give a name ending in "
            f"{', '.join(endings[:-1])} or {endings[-1]}"
        )
    if out.is_dir() and not page:
        raise UserError(f"out={wanted}: is a folder; give a file, as {out}/model{endings[0]}")
    if out.exists() and source.exists() and out.samefile(source):
        raise UserError(f"out={wanted}: is the checkpoint itself; give another file")

    from fcos_lightning.checkpoints import Checkpoint
    from fcos_lightning.checkpoints.layouts.torchvision_fcos import for_torchvision
    from fcos_lightning.checkpoints.plain_file import write_weights

    checkpoint, more = Checkpoint.read(source, recipe_for(given, config.recipe)), ""
    if page or out.suffix in _FOR_PROGRAMS:
        from fcos_lightning.runs.converting.command import convert_for_programs

        more = f"; {convert_for_programs(checkpoint, config, out, page)}"
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
    line = f"{source.name} ({layout}): {backbone}, {spec['num_classes']} classes, in {out}{more}"
    print(printable(line, LONGEST_LINE))


if __name__ == "__main__":
    main()

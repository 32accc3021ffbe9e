"""``fcos-convert``: a checkpoint in our plain format, another layout, or for other programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
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
        from fcos_lightning.cli.app import fail_if_refused, run

        try:
            sys.argv[1:] = _settings_of(sys.argv[1:])
        except Exception as error:
            fail_if_refused(error)
            raise
        run(convert, "convert")


def _settings_of(words: Sequence[str]) -> list[str]:
    """Return a command line on which files without a key have theirs, and the data are named.

    Raises:
        UserError: if a checkpoint cannot be read.
    """
    from fcos_lightning.runs.config.words import as_list, plain_words, quoted, text_of

    files, rest = plain_words(words)
    given = {word.partition("=")[0]: text_of(word) for word in rest if "=" in word}
    one = len(files) == 1 and not {"ckpt", "average"} & set(given)
    if files:
        rest.insert(0, quoted("ckpt", files[0]) if one else as_list("average", files))
    if given.get("out", "").endswith((*_FOR_PROGRAMS, "/")) and "data" not in given:
        first = given.get("ckpt") or next(iter(files), None)
        rest = [*_data_of(first, given), *rest]
    return rest


def _data_of(file: str | None, given: dict[str, str]) -> list[str]:
    """Return the word that composes the data a checkpoint names, to compare what is written on.

    Args:
        file: the checkpoint; None: which is said later.
        given: words of the command line.

    Raises:
        UserError: if it cannot be read.
    """
    from fcos_lightning.cli.test import read_once
    from fcos_lightning.runs.config.description import (
        FROM_CHECKPOINT,
        address_of_data,
        offer_data_of,
    )

    if file is None:
        return []
    about = read_once(file, given.get("recipe")).about
    if ("data.root" not in given and address_of_data(about)) or not offer_data_of(about):
        return []
    return [f"data={FROM_CHECKPOINT}"]


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
    sources = [source, *(checkpoint_file(str(Path(one).expanduser())) for one in several[1:])]
    if out.exists() and any(one.exists() and out.samefile(one) for one in sources):
        raise UserError(f"out={wanted}: is the checkpoint itself; give another file")
    if out.exists() and not page and not config.overwrite:
        raise UserError(f"out={wanted}: is there already; give another name, or overwrite=true")

    from fcos_lightning.checkpoints import Checkpoint
    from fcos_lightning.checkpoints.averaging import mean_of
    from fcos_lightning.checkpoints.layouts.torchvision_fcos import for_torchvision
    from fcos_lightning.checkpoints.plain_file import write_weights

    more = ""
    read = [
        Checkpoint.read(one, recipe_for(name, config.recipe))
        for one, name in zip(sources, several or [given], strict=True)
    ]
    checkpoint = mean_of(read) if several else read[0]
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
    name = f"the mean of {len(sources)} checkpoints" if several else source.name
    line = f"{name} ({layout}): {backbone}, {spec['num_classes']} classes, in {out}{more}"
    print(printable(line, LONGEST_LINE))


if __name__ == "__main__":
    main()

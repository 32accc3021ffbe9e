"""What kind of file for other programs is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from fcos_lightning.errors import UserError
from fcos_lightning.printing import printable

PRECISIONS = ("fp32", "fp16", "int8")
_LARGEST_SIDE = 10_000


@dataclass(frozen=True)
class Wanted:
    """What kind of file is asked for.

    Attributes:
        suffix: of its name; of a page, that of the model in it.
        page: whether it is a folder with a page for browsers.
        nms: whether it gives final boxes.
        size_hw: height and width that it takes; None: any.
        precision: of its numbers.
        license: of the weights.
    """

    suffix: str
    page: bool
    nms: bool
    size_hw: tuple[int, int] | None
    precision: str
    license: str | None

    @classmethod
    def of(cls, config: DictConfig, out: Path, page: bool) -> Wanted:
        """Return what a configuration asks for.

        Args:
            config: of the command.
            out: the file, or the folder of the page.
            page: which of the two.

        Raises:
            UserError: if there is no such file.
        """
        suffix = ".onnx" if page else out.suffix
        size_hw = _size(config.size)
        wanted = cls(suffix, page, config.nms, size_hw, config.precision, config.license)
        if wanted.precision not in PRECISIONS:
            raise UserError(f"precision={wanted.precision}: give {', '.join(PRECISIONS)}")
        if config.limit is not None and config.limit < 1:
            raise UserError(f"limit={config.limit}: give 1 or more, or null for all")
        if config.onnxruntime_web is not None and not page:
            raise UserError(
                f"onnxruntime_web={printable(config.onnxruntime_web)}: is for a page; give "
                "out=FOLDER/"
            )
        if not wanted.nms and (page or wanted.suffix != ".onnx"):
            raise UserError(f"nms=false: of {out.name} there is no such kind; give out=NAME.onnx")
        if not wanted.nms and (wanted.size_hw or wanted.precision != "fp32"):
            raise UserError(
                "nms=false: that model has any size and fp32; leave size= and precision= out"
            )
        if wanted.precision != "fp32" and wanted.suffix == ".pt2":
            raise UserError(
                f"precision={wanted.precision}: .pt2 is fp32; give out=NAME.onnx or out=NAME.xml"
            )
        return wanted


def _size(given: object) -> tuple[int, int] | None:
    """Return height and width of ``HEIGHTxWIDTH``.

    Raises:
        UserError: if it says something else.
    """
    if given is None:
        return None
    sides = re.fullmatch(r"(\d{1,6})x(\d{1,6})", str(given))
    height, width = (int(side) for side in sides.groups()) if sides else (0, 0)
    if not (1 <= height <= _LARGEST_SIDE and 1 <= width <= _LARGEST_SIDE):
        raise UserError(
            f"size={printable(given)}: give height and width in pixels, as 800x1344, at most "
            f"{_LARGEST_SIDE} each; or null for any"
        )
    return height, width

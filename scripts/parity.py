"""Compare detectors loaded from foreign checkpoints with what the sources' own code computes.

Prints a table and writes it to docs/parity.md. Needs the golden outputs, see ``--golden``.

``--record`` needs none: it keeps some of our own outputs, which the tests look for again. They were
what the sources compute where that could be compared; kept, they tell whether another version of a
library moves what both sides of a comparison are computed with.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))  # wherever it is called from

from fcos_lightning import load_detector
from fcos_lightning.storage.replacing import write_whole
from fcos_lightning.structures import Detections
from golden_losses import LossDifference, compare_losses
from golden_models import SOURCES, compare_golden, compare_plain_with_golden, flat, golden_files
from installed_sources import RETINANETS, compare_retinanet, compare_torchvision
from plain_sources.detectors import Published, run
from plain_sources.difference import Difference, difference
from plain_sources.operations import Weights
from plain_sources.published import GOLDEN, PUBLISHED, REPRESENTATIVE, UNPUBLISHED

RECORDED = Path(__file__).resolve().parents[1] / "tests" / "checkpoints" / "recorded.json"

#: Sizes at which torchvision's P6 and P7 are not 64 and 128 pixels apart.
TORCHVISION_SIZES = ((200, 264), (96, 330), (413, 117))

HEAD = """# Parity with other implementations

Each line loads a checkpoint in a source's own layout and compares with what the source's own code
computes from it on two images: the largest differences of class logits, of distances in pixels and
of quality logits over all points, and of the detections, matched one to one with equal labels, of
boxes in pixels and of scores. Weights are random. Written by `python scripts/parity.py`.

`load_detector(path)`, `fcos-test ckpt=path data=NAME`, `fcos-predict ckpt=path` and `fcos-convert
ckpt=path out=model.safetensors` recognise these layouts by their keys. Depth, widths, levels,
deformable convolutions, norms and classes are read from the tensors. What tensors cannot tell has a
default, and is overridden by `load_detector(path, recipe=NAME)`, or `recipe=NAME` of fcos-test,
fcos-predict and fcos-convert:

| layout | recipes | without a word |
|---|---|---|
| official | `improved`, `plain`, with `-3x3` or without | `improved`; MobileNetV2, VoVNet `plain` |
| adelaidet | `centerness`, `iou`, which differ in the loss alone, as above | `centerness` |
| detectron2 | `improved`, `improved-3x3` | `improved` |
| mmdet | `plain`, `tricks`, `plain-pytorch`, `tricks-pytorch` | see below |
| rosinality | `trained` | `trained` |
| torchvision | `improved` | `improved` |
| torchvision's RetinaNet | `trained`, `published` (its own first file) | `trained` |

`-3x3` is for detectors trained with `STRIDE_IN_1X1: False`, whose bottlenecks stride in the 3x3
convolution, as torchvision's do.

Files of mmdetection carry their configuration as text, which is read as what it assigns in the end:
input, style, recipe, size ranges, extra levels, loss, thresholds, top-k, NMS, number of detections,
test size. Nothing in it is run. Without it, towers with biases beside GroupNorm are of the `tricks`
recipe, and R-50 and R-101 are in caffe style, all others pytorch. Boxes without area are kept where
the file or its text is of version 2, and dropped otherwise.

The official code's NMS counts pixels inclusively, and so does what is loaded here
(`nms_sides: inclusive`). In the golden outputs it was replaced by torchvision's, which does not;
their rows are compared with `nms_sides: plain`.

AdelaiDet's detector leaves boxes beyond the image as they are, and so does what is loaded here;
`decoder={"clip": "after_nms", "drop_empty": True}` clips them. Labels of torchvision's 91 classes
are COCO's category ids, 0 is background. The file about each layout in
`src/fcos_lightning/checkpoints/layouts/` states its other conventions; a new layout is one more
such file.

"""

TABLE = """\
| source | config | class logits | ltrb (px) | quality logits | boxes (px) | scores | detections |
|---|---|---|---|---|---|---|---|
"""

PLAIN = """
## Plain re-implementations

The own code of the other configurations is not at hand. Their lines compare with plain
re-implementations of ours, `scripts/plain_sources`: formulas under the source's keys, written by
its files, which share no line with what they test. For the {models} published models above they
give what the sources' own code gives, class logits within {cls:.0e}. The last {rest} lines are nets
that the layouts have and no published table names.

"""


LOSSES = """
## Label mapping and losses

Scenes of random boxes and outputs, and what the sources' own loss code gives: points whose label
differs, and the largest relative differences of a loss and of the norm of a level's gradients.

| source | cases | labels that differ | with losses | losses | gradients |
|---|---|---|---|---|---|
"""


def compare_plain(model: Published, checkpoint: Path) -> Difference:
    """Compare the detector loaded from a checkpoint with the plain re-implementation that made it.

    Args:
        model: of a published configuration.
        checkpoint: where its weights shall be written; removed in the end, as some are large.
    """
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
        for size in ((96, 128), (90, 101))
    ]
    weights = Weights()
    outputs = run(model, weights, images)
    content: dict[str, object] = {SOURCES[model.source].level: weights.asked}
    torch.save(content | ({"meta": {"config": model.text}} if model.text else {}), checkpoint)
    detector = load_detector(checkpoint, recipe=model.recipe)
    checkpoint.unlink()
    prediction = detector.predict(images)
    cls, ltrb_px, quality = flat(outputs)
    return difference(
        (model.source, model.config),
        (prediction.cls_logits, cls),
        (prediction.ltrb_px, ltrb_px),
        (prediction.quality_logits, quality),
        (detector.detect(images), [Detections(*one) for one in outputs.found]),
    )


def compare_all(*golden: Path) -> Iterator[Difference]:
    """Compare with all sources whose own outputs or code are at hand."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pth"
        for file in (file for one in golden for file in golden_files(one)):
            yield compare_golden(file, checkpoint)
        for height, width in TORCHVISION_SIZES:
            yield compare_torchvision(height, width, checkpoint)
        for make in RETINANETS:
            yield compare_retinanet(make, checkpoint)


def compare_all_plain() -> Iterator[Difference]:
    """Compare with the plain re-implementations."""
    with tempfile.TemporaryDirectory() as folder:
        for model in (*PUBLISHED, *UNPUBLISHED):
            yield compare_plain(model, Path(folder) / "checkpoint.pth")


def recorded() -> str:
    """Return some outputs of representative models, a line for each, as JSON."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for model in REPRESENTATIVE:
            sample = compare_plain(model, Path(folder) / "checkpoint.pth").sample
            lines.append(f"{json.dumps(f'{model.source} {model.config}')}: {json.dumps(sample)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(arguments: list[str] | None = None) -> int:
    """Print the tables and write them; 1 if a detection is off."""
    here = Path(__file__).resolve().parents[1]
    shared = Path(os.environ.get("FCOS_SHARED", here.parent / "shared"))
    folders = [shared / "golden", shared / "golden_more"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", type=Path, nargs="+", default=folders, help="golden outputs")
    parser.add_argument("--out", type=Path, default=here / "docs" / "parity.md", help="the page")
    parser.add_argument("--record", action="store_true", help=f"write {RECORDED.name} only")
    options = parser.parse_args(arguments)
    if options.record:
        write_whole(recorded(), RECORDED)
        return 0
    files = [file for folder in options.golden for file in golden_files(folder)]
    if not files:
        given = ", ".join(map(str, options.golden))
        print(f"error: no golden outputs in {given}; give --golden", file=sys.stderr)
        return 2
    of_plain = [file for file in files if file.stem in GOLDEN]
    agreed = max(compare_plain_with_golden(file).cls for file in of_plain)
    between = PLAIN.format(models=len(of_plain), cls=agreed, rest=len(UNPUBLISHED))
    losses = sorted(file for one in options.golden for file in one.glob("targets_*.pt"))
    parts: tuple[tuple[str, Iterator[Difference | LossDifference]], ...] = (
        (HEAD + TABLE, compare_all(*options.golden)),
        (between + TABLE, compare_all_plain()),
        (LOSSES, (compare_losses(file) for file in losses)),
    )
    page, off = "", 0
    for text, compared in parts:
        print(text[text.index("| source") :], end="")
        page += text
        for one in compared:
            print(one.row(), flush=True)
            page += f"{one.row()}\n"
            off += one.unmatched if isinstance(one, Difference) else one.labels
    write_whole(page, options.out)
    return int(off > 0)


if __name__ == "__main__":
    raise SystemExit(main())

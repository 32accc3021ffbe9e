"""Compare detectors loaded from foreign checkpoints with what the sources' own code computes.

Prints a table and writes it to docs/parity.md. Needs the golden outputs, see ``--golden``.

``--record`` needs none: it keeps some of our own outputs, which the tests look for again. They were
what the sources compute where that could be compared; kept, they tell whether another version of a
library moves what both sides of a comparison are computed with.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))  # wherever it is called from

from fcos_lightning import load_detector
from fcos_lightning.detector import FCOS
from fcos_lightning.storage.replacing import write_whole
from fcos_lightning.structures import Detections
from installed_sources import RETINANETS, compare_retinanet, compare_torchvision
from plain_sources.detectors import Outputs, Published, run
from plain_sources.difference import Difference, by_point, difference
from plain_sources.operations import Weights
from plain_sources.published import GOLDEN, PUBLISHED, RECIPES, REPRESENTATIVE, UNPUBLISHED

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
| official | `improved`, `plain` | `improved`; for MobileNetV2 and VoVNet `plain` |
| adelaidet | `centerness`, `iou` (they differ in the loss alone) | `centerness` |
| mmdet | `plain`, `tricks`, `plain-pytorch`, `tricks-pytorch` | see below |
| torchvision | `improved` | `improved` |
| torchvision's RetinaNet | `trained`, `published` (its own first file) | `trained` |
| detectron2 | `improved` | `improved` |

Files of mmdetection carry their configuration as text, which says the recipe. Without it, towers
with biases beside GroupNorm are of the `tricks` recipe, and R-50 and R-101 are in caffe style, all
others pytorch.

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


def golden_files(folder: Path) -> list[Path]:
    """Return the files that hold the outputs of a published model."""
    sources = ("official", "adelaidet", "mmdet")
    return [file for file in sorted(folder.glob("*.pt")) if file.name.startswith(sources)]


def compare_golden(file: Path, checkpoint: Path) -> Difference:
    """Write the checkpoint of a golden file and compare the detector loaded from it.

    Args:
        file: of golden outputs.
        checkpoint: where its weights shall be written.
    """
    golden = torch.load(file, weights_only=True)
    source = file.stem.split("_", 1)[0]
    detector = _loaded(source, _seeded(file, golden), RECIPES.get(file.stem), checkpoint)
    prediction = detector.predict(golden["images"])
    given = prediction.cls_logits, prediction.ltrb_px, prediction.quality_logits
    return _from_golden(source, golden, *given, detector.detect(golden["images"]))


def compare_plain_with_golden(file: Path) -> Difference:
    """Compare a plain re-implementation with the golden outputs, for all of the source's keys.

    Raises:
        ValueError: if it does not ask for one of the source's keys.
    """
    golden = torch.load(file, weights_only=True)
    weights = Weights(_seeded(file, golden))
    outputs = run(GOLDEN[file.stem], weights, golden["images"])
    if unasked := set(golden["keys"]) - set(weights.asked):
        raise ValueError(f"{file.name}: nothing asks for {sorted(unasked)}")
    source = file.stem.split("_", 1)[0]
    found = [Detections(*one) for one in outputs.found]
    return _from_golden(source, golden, *_flat(outputs), found)


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
    detector = _loaded(model.source, weights.asked, model.recipe, checkpoint)
    checkpoint.unlink()
    prediction = detector.predict(images)
    cls, ltrb_px, quality = _flat(outputs)
    return difference(
        (model.source, model.config),
        (prediction.cls_logits, cls),
        (prediction.ltrb_px, ltrb_px),
        (prediction.quality_logits, quality),
        (detector.detect(images), [Detections(*one) for one in outputs.found]),
    )


def _seeded(file: Path, golden: dict[str, Any]) -> dict[str, Tensor]:
    """Return the weights that the golden outputs were computed with."""
    script = file.parent / "seeded_weights.py"
    spec = importlib.util.spec_from_file_location("seeded_weights", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: dict[str, Tensor] = module.seeded_weights(golden["keys"])
    return made


def _loaded(source: str, weights: dict[str, Tensor], recipe: str | None, checkpoint: Path) -> FCOS:
    level = "state_dict" if source == "mmdet" else "model"
    torch.save({level: weights}, checkpoint)
    return load_detector(checkpoint, recipe=recipe)


def _flat(outputs: Outputs) -> tuple[Tensor, Tensor, Tensor]:
    maps = outputs.cls, outputs.ltrb_px, outputs.quality
    cls, ltrb_px, quality = (by_point(part) for part in maps)
    return cls, ltrb_px, quality.squeeze(-1)


def _from_golden(
    source: str,
    golden: dict[str, Any],
    cls: Tensor,
    ltrb_px: Tensor,
    quality: Tensor,
    found: list[Detections],
) -> Difference:
    # AdelaiDet's head gives strides.
    units = [8, 16, 32, 64, 128] if source == "adelaidet" else [1] * 5
    ltrb = [part * unit for part, unit in zip(golden["reg"], units, strict=False)]
    first_label = 1 if source == "official" else 0
    expected = [
        Detections(found["boxes"], found["scores"], found["labels"] - first_label)
        for found in golden["det"]
    ]
    return difference(
        (source, golden["config"]),
        (cls, by_point(golden["cls"])),
        (ltrb_px, by_point(ltrb)),
        (quality, by_point(golden["ctr"]).squeeze(-1)),
        (found, expected),
    )


def compare_all(golden: Path) -> Iterator[Difference]:
    """Compare with all sources whose own outputs or code are at hand."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pth"
        for file in golden_files(golden):
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", type=Path, default=shared / "golden", help="golden outputs")
    parser.add_argument("--out", type=Path, default=here / "docs" / "parity.md", help="the page")
    parser.add_argument("--record", action="store_true", help=f"write {RECORDED.name} only")
    options = parser.parse_args(arguments)
    if options.record:
        write_whole(recorded(), RECORDED)
        return 0
    files = golden_files(options.golden)
    if not files:
        print(f"error: no golden outputs in {options.golden}; give --golden", file=sys.stderr)
        return 2
    agreed = max(compare_plain_with_golden(file).cls for file in files)
    between = PLAIN.format(models=len(files), cls=agreed, rest=len(UNPUBLISHED))
    page, off = "", 0
    for text, compared in ((HEAD, compare_all(options.golden)), (between, compare_all_plain())):
        print(TABLE, end="")
        page += text + TABLE
        for one in compared:
            print(one.row(), flush=True)
            page += f"{one.row()}\n"
            off += one.unmatched
    write_whole(page, options.out)
    return int(off > 0)


if __name__ == "__main__":
    raise SystemExit(main())

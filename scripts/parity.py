"""Compare detectors loaded from foreign checkpoints with what the sources' own code computes.

Prints a table and writes it to docs/parity.md. Needs the golden outputs, see ``--golden``.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import fcos_resnet50_fpn

from fcos_lightning import load_detector
from fcos_lightning.checkpoints.plain_file import write_file
from fcos_lightning.structures import Detections

#: The official code's first recipe, which no tensor tells.
RECIPES = {"official_fcos_R_50_FPN_1x": "plain"}

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
default, and is overridden by `load_detector(path, recipe=NAME)`, `+recipe=NAME` of fcos-test and
fcos-predict, or `recipe=NAME` of fcos-convert:

| layout | recipes | without a word |
|---|---|---|
| official | `improved`, `plain` | `improved`; for MobileNetV2 `plain` |
| adelaidet | `centerness`, `iou` (they differ in the loss alone) | `centerness` |
| mmdet | `plain`, `tricks`, `plain-pytorch`, `tricks-pytorch` | see below |
| torchvision | `improved` | `improved` |
| detectron2 | `improved` | `improved` |

Files of mmdetection carry their configuration as text, which says the recipe. Without it, towers
with biases are of the `tricks` recipe, and R-50 and R-101 are in caffe style, all others pytorch.

AdelaiDet's detector leaves boxes beyond the image as they are, and so does what is loaded here;
`decoder={"clip": "after_nms", "drop_empty": True}` clips them. Labels of torchvision's 91 classes
are COCO's category ids, 0 is background. The file about each layout in
`src/fcos_lightning/checkpoints/` states its other conventions; a new layout is one more such file.

| source | config | class logits | ltrb (px) | quality logits | boxes (px) | scores | detections |
|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Difference:
    """The largest differences between a source and the detector loaded from its checkpoint.

    Attributes:
        source: whose code it is.
        config: the source's name of the model.
        cls: of class logits.
        ltrb_px: of distances in pixels.
        ltrb_excess_px: by which they exceed 1e-4 of the distance.
        quality: of quality logits.
        boxes_px: of boxes, each matched with one of equal label.
        scores: of their scores.
        unmatched: detections without a counterpart within 0.05 px, on either side.
        detections: of the source.
    """

    source: str
    config: str
    cls: float
    ltrb_px: float
    ltrb_excess_px: float
    quality: float
    boxes_px: float
    scores: float
    unmatched: int
    detections: int

    def row(self) -> str:
        """Return a line of the table."""
        numbers = (self.cls, self.ltrb_px, self.quality, self.boxes_px, self.scores)
        shown = " | ".join(f"{number:.1e}" for number in numbers)
        same = f"{self.detections}, all the same" if not self.unmatched else f"{self.unmatched} off"
        return f"| {self.source} | {self.config} | {shown} | {same} |"


def golden_files(folder: Path) -> list[Path]:
    """Return the files that hold the outputs of a published model."""
    sources = ("official", "adelaidet", "mmdet")
    return [file for file in sorted(folder.glob("*.pt")) if file.name.startswith(sources)]


def seeded_weights(folder: Path, shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Return the weights that the golden outputs were computed with."""
    spec = importlib.util.spec_from_file_location("seeded_weights", folder / "seeded_weights.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: dict[str, Tensor] = module.seeded_weights(shapes)
    return made


def compare_golden(file: Path, checkpoint: Path) -> Difference:
    """Write the checkpoint of a golden file and compare.

    Args:
        file: of golden outputs.
        checkpoint: where its weights shall be written.
    """
    golden = torch.load(file, weights_only=True)
    source = file.stem.split("_", 1)[0]
    level = "state_dict" if source == "mmdet" else "model"
    torch.save({level: seeded_weights(file.parent, golden["keys"])}, checkpoint)
    detector = load_detector(checkpoint, recipe=RECIPES.get(file.stem))
    prediction = detector.predict(golden["images"])
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
        (prediction.cls_logits, by_point(golden["cls"])),
        (prediction.ltrb_px, by_point(ltrb)),
        (prediction.quality_logits, by_point(golden["ctr"]).squeeze(-1)),
        (detector.detect(golden["images"]), expected),
    )


def by_point(maps: list[Tensor]) -> Tensor:
    """Return maps ``[B, C, H, W]`` of all levels as ``[B, P, C]``."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)


def compare_torchvision(height: int, width: int, checkpoint: Path) -> Difference:
    """Compare with the installed torchvision on two images, the larger of this size."""
    torch.manual_seed(height)
    model = fcos_resnet50_fpn(weights=None, weights_backbone=None).eval()
    # Ours resizes nothing either; all the rest of its transform stays.
    model.transform.resize = lambda image, target=None: (image, target)
    for module in model.modules():
        # Fresh weights give the same faint answer everywhere.
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=1)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 0.7)
    nn.init.constant_(model.head.classification_head.cls_logits.bias, -3.0)
    torch.save(model.state_dict(), checkpoint)
    images = [
        torch.randint(0, 256, (3, h, w), dtype=torch.uint8)
        for h, w in ((height, width), (height - 30, width - 41))
    ]
    detector = load_detector(checkpoint)
    with torch.inference_mode():
        found = model([image.float() / 255 for image in images])
        batch, _ = model.transform([image.float() / 255 for image in images])
        outputs = model.head(list(model.backbone(batch.tensors).values()))
    strides = detector.points(tuple(batch.tensors.shape[-2:])).stride[None, :, None]
    prediction = detector.predict(images)
    return difference(
        ("torchvision", f"fcos_resnet50_fpn at {height}x{width}"),
        (prediction.cls_logits, outputs["cls_logits"]),
        (prediction.ltrb_px, outputs["bbox_regression"] * strides),
        (prediction.quality_logits, outputs["bbox_ctrness"].squeeze(-1)),
        (
            detector.detect(images),
            [Detections(one["boxes"], one["scores"], one["labels"]) for one in found],
        ),
    )


def difference(
    name: tuple[str, str],
    cls: tuple[Tensor, Tensor],
    ltrb_px: tuple[Tensor, Tensor],
    quality: tuple[Tensor, Tensor],
    detections: tuple[list[Detections], list[Detections]],
) -> Difference:
    """Return the largest differences of pairs (ours, the source's)."""
    boxes, scores, unmatched = 0.0, 0.0, 0
    for ours, theirs in zip(*detections, strict=True):
        left = set(range(len(ours)))
        for box, score, label in zip(theirs.boxes_xyxy, theirs.scores, theirs.labels, strict=True):
            apart = (ours.boxes_xyxy - box).abs().amax(dim=1)
            off = (ours.scores - score).abs()
            near = (apart < 0.05) & (off < 1e-4) & (ours.labels == label)
            match = next((row for row in near.nonzero().flatten().tolist() if row in left), None)
            if match is None:
                unmatched += 1
                continue
            left.discard(match)
            boxes, scores = max(boxes, float(apart[match])), max(scores, float(off[match]))
        unmatched += len(left)
    return Difference(
        *name,
        cls=_largest(*cls),
        ltrb_px=_largest(*ltrb_px),
        ltrb_excess_px=float(((ltrb_px[0] - ltrb_px[1]).abs() - 1e-4 * ltrb_px[1].abs()).amax()),
        quality=_largest(*quality),
        boxes_px=boxes,
        scores=scores,
        unmatched=unmatched,
        detections=sum(len(theirs) for theirs in detections[1]),
    )


def _largest(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape:
        raise ValueError(f"{list(ours.shape)} against {list(theirs.shape)}")
    return float((ours - theirs).abs().amax())


def compare_all(golden: Path) -> Iterator[Difference]:
    """Compare with everything there is to compare with."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pth"
        for file in golden_files(golden):
            yield compare_golden(file, checkpoint)
        for height, width in TORCHVISION_SIZES:
            yield compare_torchvision(height, width, checkpoint)


def main(arguments: list[str] | None = None) -> int:
    """Print the table and write it; 1 if a detection is off."""
    here = Path(__file__).resolve().parents[1]
    shared = Path(os.environ.get("FCOS_SHARED", here.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", type=Path, default=shared / "golden", help="golden outputs")
    parser.add_argument("--out", type=Path, default=here / "docs" / "parity.md", help="the page")
    options = parser.parse_args(arguments)
    if not golden_files(options.golden):
        print(f"error: no golden outputs in {options.golden}; give --golden", file=sys.stderr)
        return 2
    print("\n".join(HEAD.splitlines()[-2:]))
    found: list[Any] = []
    for one in compare_all(options.golden):
        print(one.row(), flush=True)
        found.append(one)
    rows = "".join(f"{one.row()}\n" for one in found)
    write_file((HEAD + rows).encode(), options.out)
    return int(any(one.unmatched for one in found))


if __name__ == "__main__":
    raise SystemExit(main())

"""Boxes in a picture by a model of ``fcos-convert out=model.onnx``: no torch, no training code.

Needs onnxruntime, numpy and pillow.  Usage: python detect.py model.onnx photo.jpg
"""

import json
import sys
from collections.abc import Iterator

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def detect(
    session: onnxruntime.InferenceSession, image: Image.Image
) -> Iterator[tuple[str | int, float, list[float]]]:
    """Yield class, score and box (left, top, right, bottom in pixels), best first."""
    about = session.get_modelmeta().custom_metadata_map
    names, size = json.loads(about["class_names"]), json.loads(about["size"])
    fixed = size["height_width"]  # or null: any size
    if fixed:
        scale = min(fixed[1] / image.width, fixed[0] / image.height)
    else:  # as the detector was evaluated
        shorter, longer = size["shorter_side"] or 800, size["longer_side"] or 1333
        scale = min(shorter / min(image.size), longer / max(image.size))
    seen = [max(1, round(side * scale)) for side in image.size]
    smooth = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    canvas = Image.new("RGB", fixed[::-1] if fixed else seen)
    canvas.paste(image.resize(seen, smooth))
    pixels = np.ascontiguousarray(np.asarray(canvas).transpose(2, 0, 1)[None])
    boxes, scores, labels = session.run(["boxes", "scores", "labels"], {"images": pixels})
    factor = np.array([image.width / seen[0], image.height / seen[1]] * 2)
    for box, score, label in zip(boxes[0] * factor, scores[0], labels[0], strict=True):
        yield (names[label] if names else int(label)), float(score), box.tolist()


if __name__ == "__main__":
    model, photo = sys.argv[1:]
    picture = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
    for name, score, box in detect(onnxruntime.InferenceSession(model), picture):
        print(f"{name} {score:.3f} " + " ".join(f"{side:.2f}" for side in box))

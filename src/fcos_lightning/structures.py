"""What the parts hand to one another. Everything is frozen; shapes and units stand here once.

Legend: ``B`` images, ``P`` points of all levels (level-major, row-major inside a level),
``G`` boxes of one image, ``C`` classes, ``N`` images and ``M`` boxes of a whole data set.
Boxes are ``xyxy`` in pixels, the right and bottom ends exclusive, so ``width = x2 - x1``.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    import pandas
    import PIL.Image
    import supervision
    from numpy.typing import NDArray

    from fcos_lightning.inference.pixels import AnyImage

_Self = TypeVar("_Self", bound="_OnDevice")


class _OnDevice:
    """Moves every tensor field of a dataclass, and leaves the others as they are."""

    def to(self: _Self, device: torch.device | str, non_blocking: bool = False) -> _Self:
        """Return a copy whose tensors lie on ``device``."""
        moved: _Self = _changed(self, lambda one: one.to(device, non_blocking=non_blocking))
        return moved

    def pin_memory(self: _Self) -> _Self:
        """Return a copy in memory that a GPU can read while the processor goes on."""
        pinned: _Self = _changed(self, lambda one: one.pin_memory())
        return pinned


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:  # noqa: ANN401  # of its type
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, _OnDevice):
        kept = {one.name: getattr(value, one.name) for one in fields(value)}  # type: ignore[arg-type]
        return type(value)(**{name: _changed(item, change) for name, item in kept.items()})
    if isinstance(value, tuple):
        return tuple(_changed(item, change) for item in value)
    if isinstance(value, Mapping):
        return {key: _changed(item, change) for key, item in value.items()}
    return value


@dataclass(frozen=True, eq=False)
class Target(_OnDevice):
    """Ground truth of one image.

    Attributes:
        boxes_xyxy: ``[G, 4]`` float32 pixels. ``G`` may be 0.
        labels: ``[G]`` int64, 0-based.

    Raises:
        ValueError: if the shapes do not fit each other.
    """

    boxes_xyxy: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.boxes_xyxy.ndim != 2 or self.boxes_xyxy.shape[1] != 4:
            raise ValueError(f"boxes_xyxy must be [G, 4], not {list(self.boxes_xyxy.shape)}")
        if self.labels.shape != self.boxes_xyxy.shape[:1]:
            raise ValueError(
                f"{len(self.boxes_xyxy)} boxes need labels of shape [{len(self.boxes_xyxy)}], "
                f"not {list(self.labels.shape)}"
            )


@dataclass(frozen=True, eq=False)
class Targets(_OnDevice):
    """Ground truth of a batch, padded to the largest number of boxes: one transfer, fixed shapes.

    Attributes:
        boxes_xyxy: ``[B, G, 4]`` float32 pixels of the padded input; rows beyond an image's own
            boxes are zero.
        labels: ``[B, G]`` int64, -1 on padding rows.
    """

    boxes_xyxy: Tensor
    labels: Tensor

    @property
    def valid(self) -> Tensor:
        """``[B, G]`` bool: which rows are boxes rather than padding."""
        return self.labels >= 0

    @classmethod
    def stack(cls, targets: Sequence[Target]) -> Targets:
        """Pad the boxes of several images to one tensor; an image without boxes is ordinary."""
        pad = torch.nn.utils.rnn.pad_sequence
        return cls(
            boxes_xyxy=pad([target.boxes_xyxy.float() for target in targets], batch_first=True),
            labels=pad([t.labels for t in targets], batch_first=True, padding_value=-1),
        )


@dataclass(frozen=True, eq=False)
class Images(_OnDevice):
    """Images of different sizes in one tensor, each in the top left corner.

    Attributes:
        pixels: ``[B, 3, H, W]`` uint8 RGB; what lies outside an image is arbitrary, the detector
            sets it to exactly zero after normalisation.
        sizes_hw: ``[B, 2]`` int64, height and width of each image before padding.
    """

    pixels: Tensor
    sizes_hw: Tensor

    @classmethod
    def pad(cls, images: Sequence[Tensor], multiple: int) -> Images:
        """Lay uint8 images ``[3, H, W]`` into one tensor, its sides rounded up to ``multiple``."""
        if not images:
            raise ValueError("expected at least one image")
        sizes = torch.tensor([image.shape[-2:] for image in images])
        height, width = (math.ceil(int(side) / multiple) * multiple for side in sizes.amax(dim=0))
        device = images[0].device
        pixels = torch.empty(len(images), 3, height, width, dtype=torch.uint8, device=device)
        for row, image in zip(pixels, images, strict=True):
            bottom, right = image.shape[-2:]
            row[:, :bottom, :right] = image
            # Black, so that equal images make equal batches. Much less is written than if all were.
            row[:, bottom:] = 0
            row[:, :bottom, right:] = 0
        return cls(pixels=pixels, sizes_hw=sizes)

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width of the padded tensor."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    @property
    def device(self) -> torch.device:
        """Where the pixels lie."""
        return self.pixels.device


@dataclass(frozen=True, eq=False)
class PaddedTargets(_OnDevice):
    """Ground truth of a batch without its images.

    Attributes:
        targets: boxes in pixels of the padded images.
        padded_size: height and width of those.
    """

    targets: Targets
    padded_size: tuple[int, int]

    @property
    def device(self) -> torch.device:
        """Where the boxes lie."""
        return self.targets.boxes_xyxy.device


@dataclass(frozen=True, eq=False)
class Batch(_OnDevice):
    """What the data module streams.

    Attributes:
        images: the padded images.
        targets: boxes in pixels of the resized, padded images.
        image_ids: ``[B]`` int64, the ids of the data set's own files.
        original_sizes_hw: ``[B, 2]`` int64, sizes of the files before any resizing.
        dropped_boxes: boxes that the augmentation left without a pixel.
        unreadable: files that could not be read and were passed over.
        rest_of_step: where gradients of several batches are accumulated, the ground truth of the
            batches that follow in the same optimiser step, on the first of them; else empty.
    """

    images: Images
    targets: Targets
    image_ids: Tensor
    original_sizes_hw: Tensor
    dropped_boxes: int = 0
    unreadable: tuple[str, ...] = ()
    rest_of_step: tuple[PaddedTargets, ...] = ()

    def __len__(self) -> int:
        return len(self.image_ids)


@dataclass(frozen=True, eq=False)
class Views(_OnDevice):
    """One image in several sizes.

    Attributes:
        images: a batch of one for each size.
        image_ids: ``[1]``, the id in the data set's own files.
        original_sizes_hw: ``[1, 2]`` size of the file.
        unreadable: the file, if it could not be read.
    """

    images: tuple[Images, ...]
    image_ids: Tensor
    original_sizes_hw: Tensor
    unreadable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return 1


@dataclass(frozen=True, eq=False)
class Points(_OnDevice):
    """The places that predict: one or more for each feature-map cell of every level.

    Attributes:
        xy: ``[P, 2]`` float32 pixels.
        stride: ``[P]`` float32 pixels.
        feature_sizes: height and width of each level's feature map.
        strides: stride of each level in pixels.
        size_wh: ``[P, 2]`` float32 pixels, width and height of the anchor box whose center the
            point is; None: points without anchors.
        per_cell: how many points a cell has, one after the other; 1 without anchors.
    """

    xy: Tensor
    stride: Tensor
    feature_sizes: tuple[tuple[int, int], ...]
    strides: tuple[int, ...]
    size_wh: Tensor | None = None
    per_cell: int = 1

    @property
    def per_level(self) -> list[int]:
        """Number of points of each level; they add up to ``P``."""
        return [height * width * self.per_cell for height, width in self.feature_sizes]


@dataclass(frozen=True, eq=False)
class Prediction(_OnDevice):
    """What the head says at every point, in training and evaluation alike.

    A head may give a class of its own with further fields, which its loss and decoder know.

    Attributes:
        cls_logits: ``[B, P, C]``.
        ltrb_px: ``[B, P, 4]`` distances to the four sides, in pixels.
        quality_logits: ``[B, P]``; centerness in the paper. None: nothing predicts it.
    """

    cls_logits: Tensor
    ltrb_px: Tensor
    quality_logits: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Assignment(_OnDevice):
    """Which box each point answers for: the article's label mapping.

    Attributes:
        labels: ``[B, P]`` int64, -1 is background.
        ltrb_px: ``[B, P, 4]`` float32 pixels, 0 on background. Negative where the point of an
            anchor lies outside of its box.
        matched: ``[B, P]`` int64 index of the box among its image's boxes, -1 is none.
        claims: ``[B, P]`` int64, how many boxes claimed the point; above 1 it was ambiguous.
        weight: ``[B, P]`` float32, how much of a positive each point is, the soft target of
            mappings that grade their points; None: each is a whole one.
        ignored: ``[B, P]`` bool, points that are neither positive nor background, so that no
            loss looks at them; None: there are none.
    """

    labels: Tensor
    ltrb_px: Tensor
    matched: Tensor
    claims: Tensor
    weight: Tensor | None = None
    ignored: Tensor | None = None

    @property
    def positive(self) -> Tensor:
        """``[B, P]`` bool: the points that answer for a box."""
        return self.labels >= 0


@dataclass(frozen=True, eq=False)
class Totals(_OnDevice):
    """What a loss divides by: sums over all the batches of an optimiser step, on all devices.

    Attributes:
        sums: scalars float32 by the names that the loss gave them.
        batches: how many batches they are of. Gradients are averaged over those, so each batch
            divides by its share of a sum.
    """

    sums: Mapping[str, Tensor]
    batches: int = 1

    def share(self, name: str, at_least: float = 0.0) -> Tensor:
        """Return one batch's share of a sum, the sum being no less than ``at_least``."""
        return self.sums[name].clamp(min=at_least) / self.batches


@dataclass(frozen=True, eq=False)
class Losses(_OnDevice):
    """Scalars of one batch, by name.

    Attributes:
        terms: what is minimised: their sum is.
        monitors: what is only looked at, without gradient.
    """

    terms: Mapping[str, Tensor]
    monitors: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """The scalar that is minimised."""
        return functools.reduce(operator.add, self.terms.values())


@dataclass(frozen=True, eq=False)
class Detections(_OnDevice):
    """Final boxes of one image, best first.

    Attributes:
        boxes_xyxy: ``[K, 4]`` float32 pixels.
        scores: ``[K]`` float32 between 0 and 1.
        labels: ``[K]`` int64, 0-based.
        class_names: one per class, or None where nobody said.
    """

    boxes_xyxy: Tensor
    scores: Tensor
    labels: Tensor
    class_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The name of each box's class, ``K`` of them; None where the classes have no names."""
        if self.class_names is None:
            return None
        return tuple(self.class_names[label] for label in self.labels.tolist())

    def above(self, score: float) -> Detections:
        """Return those with at least this score."""
        kept = self.scores >= score
        parts = (self.boxes_xyxy[kept], self.scores[kept], self.labels[kept])
        return Detections(*parts, self.class_names)

    def resized(self, from_hw: Tensor, to_hw: Tensor) -> Detections:
        """Map the boxes from an image to the same image in another size.

        Args:
            from_hw: ``[2]`` height and width of the image that the boxes are of.
            to_hw: ``[2]`` height and width of the other.
        """
        factor = (to_hw / from_hw).flip(0).repeat(2).to(self.boxes_xyxy)
        return replace(self, boxes_xyxy=self.boxes_xyxy * factor)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with a row for each box, see ``inference/conversions.py``."""
        from fcos_lightning.inference.conversions import to_pandas

        return to_pandas(self)

    def to_supervision(self) -> supervision.Detections:
        """Return Roboflow supervision's detections, see ``inference/conversions.py``."""
        from fcos_lightning.inference.conversions import to_supervision

        return to_supervision(self)

    def draw(self, image: AnyImage) -> PIL.Image.Image:
        """Return a copy of the image with the boxes drawn, see ``inference/conversions.py``."""
        from fcos_lightning.inference.conversions import drawn

        return drawn(self, image)


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Annotations of a data set in flat arrays, which loader workers share without copying.

    The boxes of image ``i`` are the rows ``first_box[i]`` to ``first_box[i + 1]``.

    Attributes:
        image_ids: ``[N]`` int64, as the data set's own files give them (VOC: 1 to N).
        file_names: ``[N]`` numpy unicode array, below the image folder.
        sizes_hw: ``[N, 2]`` int64 pixels.
        first_box: ``[N + 1]`` int64.
        boxes_xyxy: ``[M, 4]`` float64 pixels, as annotated (they may stick out of the image).
        labels: ``[M]`` int64, 0-based.
        ignored: ``[M]`` bool: COCO crowds and VOC difficult objects. They are left out of the
            loss; in evaluation a detection on one is neither right nor wrong.
        areas_px: ``[M]`` float64, the annotated area where there is one (COCO: of the segment).
            It decides between small, medium and large.
        class_names: one per label.
        category_ids: one per label, the ids the data set's own files use.
    """

    image_ids: NDArray[np.int64]
    file_names: NDArray[np.str_]
    sizes_hw: NDArray[np.int64]
    first_box: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float64]
    labels: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    areas_px: NDArray[np.float64]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.image_ids)

    def rows(self, image: int) -> slice:
        """The rows that hold the boxes of the ``image``-th image."""
        return slice(int(self.first_box[image]), int(self.first_box[image + 1]))

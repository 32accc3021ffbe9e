"""How far figures would move if other images had been drawn: bootstrap intervals over images.

Images are drawn with replacement, as many as there are, and each figure is computed anew of what
was drawn (Efron and Tibshirani, An Introduction to the Bootstrap, 1993). Detections are matched
within their image, so that matching once is enough: a draw only says how often each image counts.
The images that are drawn depend on the seed alone. So of two detectors on the same images the
differences are paired, and what both find hard does not blur them.

An image drawn twice counts as two images, and AP is what COCO's evaluation makes of that, but for
equal scores within one image: these stay together.

Legend: ``N`` images, ``C`` classes, ``B`` draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcos_lightning.evaluation.analysis.weighted import ranges_of
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.structures import GroundTruth

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What is computed of each draw; those of ``coco_summary`` of these names.
FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")
#: Smaller sums are exact in float32.
_EXACT = 2**24
#: Fewer draws together than this cost more each than another processor saves.
_WORTH_SHARING = 128


@dataclass(frozen=True, eq=False)
class Draws:
    """Figures of each draw.

    Attributes:
        figures: name -> ``[B]`` float64, NaN where a draw had nothing of the kind to be found.
        per_class: ``[B, C]`` float64 AP of each class, NaN likewise.
    """

    figures: dict[str, NDArray[np.float64]]
    per_class: NDArray[np.float64]


def image_counts(images: int, draws: int, seed: int) -> NDArray[np.uint8]:
    """Draw images with replacement: how often each is drawn, ``[B, N]`` uint8."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((draws, images), dtype=np.uint8)
    for row in counts:
        row[:] = np.bincount(rng.integers(0, images, images), minlength=images).clip(max=255)
    return counts


def figures_of_draws(
    truth: GroundTruth,
    table: DetectionTable,
    counts: NDArray[np.uint8],
    *,
    threads: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> Draws:
    """Compute the figures of each draw.

    Args:
        truth: annotations of the images.
        table: boxes in the frame of the original images.
        counts: ``[B, N]`` how often each image of ``truth`` counts.
        threads: so many blocks of draws are computed at a time.
        advance: called after each draw.

    Raises:
        ValueError: if a detection has an image id or a label that ``truth`` does not know.
    """
    ranges = ranges_of(truth, table)
    share = max(-(-len(counts) // threads), _WORTH_SHARING)
    together = min(share, *(one.draws_together for one in ranges))
    parts = [counts[first : first + together] for first in range(0, len(counts), together)]
    most = int(counts.max(initial=0)) * max(len(table), len(truth.labels))
    kind = torch.float32 if most < _EXACT else torch.float64

    def of_some(rows: NDArray[np.uint8]) -> Draws:
        weight = torch.from_numpy(rows).to(kind).T.contiguous()
        found = [one.figures(weight) for one in ranges]
        for _ in rows:
            advance()
        return _draws_of([ap for ap, _ in found], found[0][1])

    with _torch_alone(), ThreadPoolExecutor(threads) as pool:
        drawn = list(pool.map(of_some, parts))
    return Draws(
        {name: np.concatenate([one.figures[name] for one in drawn]) for name in FIGURES},
        np.concatenate([one.per_class for one in drawn]),
    )


@contextmanager
def _torch_alone() -> Iterator[None]:
    """Let each block use one processor: its sums are too short to be shared out to waiting ones."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _draws_of(ap: Sequence[NDArray[np.float64]], recall: NDArray[np.float64]) -> Draws:
    """Return the figures of some draws.

    Args:
        ap: of each range of size, ``[B, C, T]``.
        recall: of all sizes, ``[B, C, T]``.
    """
    figures = {
        "AP": _mean(ap[0]),
        "AP50": _mean(ap[0][:, :, 0]),
        "AP75": _mean(ap[0][:, :, 5]),
        **{f"AP{size}": _mean(of_size) for size, of_size in zip("sml", ap[1:], strict=True)},
        "AR100": _mean(recall),
    }
    return Draws(figures, ap[0].mean(axis=-1))


def interval(values: NDArray[np.float64]) -> tuple[float, float] | tuple[None, None]:
    """Return between which bounds the middle 95 of 100 draws lie: the percentile interval.

    Args:
        values: ``[B]``; draws without the figure are left out.

    Returns:
        None twice where no draw has the figure.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return None, None
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each draw over what there was to be found, ``[B, ...]`` to ``[B]``."""
    flat = values.reshape(len(values), -1)
    known = ~np.isnan(flat)
    number = known.sum(axis=1)
    total = np.where(known, flat, 0.0).sum(axis=1)
    mean: NDArray[np.float64] = np.divide(
        total, number, out=np.full(len(flat), np.nan), where=number > 0
    )
    return mean

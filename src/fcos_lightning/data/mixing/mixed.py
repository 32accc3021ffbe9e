"""Mixes, then transforms, and at the end of a run neither: what ``augment=mosaic`` is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fcos_lightning.data.augment import Augmentation
from fcos_lightning.data.mixing.scene import Mix, Scene
from fcos_lightning.data.resizing import fitting_scale
from fcos_lightning.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Step:
    """A mix that an image goes through.

    Attributes:
        mix: which.
        partners: positions of the other images.
        seed: of all else that it draws.
    """

    mix: Mix
    partners: tuple[int, ...]
    seed: int


class MixedAugmentation:
    """Makes each training image of several, and then augments it.

    Which mixes an image goes through, with which others, follows from the run's seed, the epoch and
    the image, not from what is on the images: so a run that is gone on with, other workers and
    other devices give the same. The last epochs are learnt from single images: mixed ones are
    unlike those that a detector will see, and small nets lose by them without that
    (arXiv 2107.08430, section 2.1).

    Args:
        mixes: in this order, each with its own probability; None switches one off.
        then: what follows on the mixes.
        weak: the augmentation of the last epochs.
        shorter: before they are mixed, images get this shorter side in pixels,
        longer: or one at which the longer side is no more than this.
        weak_end: share of the epochs, at the end of the run, that is learnt with ``weak`` alone;
            rounded up to whole epochs.
    """

    def __init__(
        self,
        mixes: Mapping[str, Mix | None],
        then: Augmentation,
        weak: Augmentation,
        shorter: int,
        longer: int,
        weak_end: float = 0.1,
    ) -> None:
        if not 0 <= weak_end <= 1:
            raise UserError(f"augment.weak_end={weak_end}: give a number in [0, 1]")
        for name, mix in mixes.items():
            if mix is not None and not isinstance(mix, Mix):
                raise UserError(
                    f"augment.mixes.{name}: gives a {type(mix).__name__}, not a mix of images; "
                    "transforms of one image belong under augment.then.transforms"
                )
        self.mixes = {name: mix for name, mix in mixes.items() if mix is not None}
        self.then = then
        self.weak = weak
        self.shorter = shorter
        self.longer = longer
        self.weak_end = weak_end

    def weak_from(self, epochs: int | None) -> float:
        """Return the first epoch, 0-based, of the weak end of a run of so many; None: no end."""
        if epochs is None:
            return math.inf
        # A tenth of 30 epochs is a little more than 3 in binary numbers.
        return epochs - math.ceil(round(self.weak_end * epochs, 6))

    def plan(
        self, seed: int, epoch: int, image: int, others: NDArray[np.int64] | range
    ) -> list[Step]:
        """Return what an image goes through in an epoch.

        Args:
            seed: of the run.
            epoch: 0-based.
            image: its position in the split.
            others: positions of the images that may take part; the image itself does only where
                there is no other.
        """
        random = np.random.default_rng([seed, epoch, image, 1])
        steps = []
        for mix in self.mixes.values():
            taken = random.random() < mix.p
            drawn = random.integers(0, max(len(others) - 1, 1), mix.partners).tolist()
            own_seed = int(random.integers(2**63))
            if not taken:
                continue
            # The last one stands in for the image itself.
            found = [int(others[place]) for place in drawn]
            partners = tuple(int(others[-1]) if one == image else one for one in found)
            steps.append(Step(mix, partners, own_seed))
        return steps

    def mixed(self, scene: Scene, steps: list[Step], read: Callable[[int], Scene]) -> Scene:
        """Return an image mixed with others; one that goes through nothing stays as it is.

        Args:
            scene: the image as stored.
            steps: what ``plan`` gave.
            read: returns the image at a position as stored.
        """
        if steps:
            scene = self._fitted(scene)
        for step in steps:
            others = [self._fitted(read(partner)) for partner in step.partners]
            scene = step.mix(scene, others, np.random.default_rng(step.seed))
        return scene

    def _fitted(self, scene: Scene) -> Scene:
        scale = fitting_scale(*scene.size_hw, self.shorter, self.longer)
        return scene.inside().scaled(scale)

    def in_words(self, epochs: int | None) -> str:
        """Return what it does, for the summary of a run of so many epochs."""
        named = [
            *(f"{name} {mix.p:g}" for name, mix in self.mixes.items() if mix.p > 0),
            *(type(one).__name__ for one in self.then.compose.transforms),
        ]
        text = ", ".join(named) or "nothing"
        if epochs is None or not self.weak_end:
            return text
        last = epochs - int(self.weak_from(epochs))
        weak = ", ".join(type(one).__name__ for one in self.weak.compose.transforms) or "nothing"
        return f"{text}; in the last {last} of {epochs} epochs {weak} alone"

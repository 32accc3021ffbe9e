"""Boxes after mixing against what the pixels themselves say.

In scenes of coordinates each pixel names its scene, its column and its row. Where nothing is
scaled, the pixels of a result so tell which part of which source box is shown where.
"""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcos_lightning.data.mixing.copy_paste import CopyPaste
from fcos_lightning.data.mixing.mixup import MixUp
from fcos_lightning.data.mixing.mosaic import FILL, Mosaic
from fcos_lightning.data.mixing.scene import Mix, Scene, cut
from fcos_lightning.errors import UserError

#: What the first channel of a scene of coordinates says; no other pixel has such a value.
NAMES = (10, 20, 30, 40)


def scenes(random: np.random.Generator, count: int, most_boxes: int = 6) -> list[Scene]:
    """Return scenes of coordinates with whole-numbered boxes; some have none, some to be ignored.

    A label is the number of its box over all scenes, so that it tells where a box came from.
    """
    made, label = [], 0
    for name in NAMES[:count]:
        height, width = random.integers(1, 60, 2).tolist()
        rows, columns = np.mgrid[:height, :width]
        image = np.stack([np.full_like(rows, name), columns, rows], axis=2).astype(np.uint8)
        boxes, labels = [], []
        for _ in range(int(random.integers(0, most_boxes + 1))):
            x, y = int(random.integers(0, width)), int(random.integers(0, height))
            right, bottom = int(random.integers(x, width)) + 1, int(random.integers(y, height)) + 1
            boxes.append([x, y, right, bottom])
            labels.append(-1 if random.random() < 0.2 else label)
            label += 1
        made.append(
            Scene(
                image,
                np.array(boxes, dtype=np.float64).reshape(-1, 4),
                np.array(labels, dtype=np.int64),
            )
        )
    return made


def shown_of(result: Scene, source: Scene, name: int, least_visible: float) -> list[list[float]]:
    """Return what is shown of a source's boxes, by looking at each pixel of the result.

    Returns:
        Box and label of each that is shown at all, in the order of the source.
    """
    found = []
    from_here = result.image[..., 0] == name
    columns, rows = result.image[..., 1].astype(int), result.image[..., 2].astype(int)
    for (x1, y1, x2, y2), label in zip(source.boxes_xyxy, source.labels.tolist(), strict=True):
        shown = from_here & (columns >= x1) & (columns < x2) & (rows >= y1) & (rows < y2)
        if not shown.any():
            continue
        ys, xs = shown.nonzero()
        enough = shown.sum() >= least_visible * (x2 - x1) * (y2 - y1)
        box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        found.append([*map(float, box), label if enough else -1])
    return found


def listed(scene: Scene) -> list[list[float]]:
    return [
        [*box, label]
        for box, label in zip(scene.boxes_xyxy.tolist(), scene.labels.tolist(), strict=True)
    ]


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), least=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_a_mosaic_shows_what_its_boxes_say(seed: int, least: float) -> None:
    random = np.random.default_rng(seed)
    first, *others = scenes(random, 4)
    mix = Mosaic(scale=(1.0, 1.0), center=(0.0, 1.0), least_visible=least)
    result = mix(first, others, random)
    assert result.size_hw == first.size_hw and result.image.dtype == np.uint8
    wanted = [
        box
        for name, source in zip(NAMES, (first, *others), strict=True)
        for box in shown_of(result, source, name, least)
    ]
    assert sorted(listed(result)) == sorted(wanted)
    # Each of the four is in one piece, and what is of none is grey.
    of_none = ~np.isin(result.image[..., 0], NAMES)
    assert (result.image[of_none] == FILL).all()


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), least=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_a_mixture_shows_what_its_boxes_say(seed: int, least: float) -> None:
    random = np.random.default_rng(seed)
    first, other = scenes(random, 2)
    # The other one hides all below it, so that the pixels tell where it is.
    mix = MixUp(share=(0.0, 0.0), scale=(1.0, 1.0), least_visible=least)
    result = mix(first, [other], random)
    assert result.size_hw == first.size_hw
    wanted = [*listed(first), *shown_of(result, other, NAMES[1], least)]
    assert listed(result) == wanted
    # As much of it is shown as can be.
    sides = zip(first.size_hw, other.size_hw, strict=True)
    most = int(np.prod([min(one, two) for one, two in sides]))
    assert (result.image[..., 0] == NAMES[1]).sum() == most


def test_pixels_of_a_mixture_are_weighted_means() -> None:
    random = np.random.default_rng(3)
    images = [random.integers(0, 256, (30, 40, 3), dtype=np.uint8) for _ in range(2)]
    none = np.zeros((0, 4)), np.zeros(0, dtype=np.int64)
    scene, other = (Scene(image, *none) for image in images)
    result = MixUp(share=(0.25, 0.25), scale=(1.0, 1.0))(scene, [other], random)
    mean = 0.25 * images[0].astype(float) + 0.75 * images[1]
    assert np.abs(result.image - mean).max() <= 0.5 + 1e-4
    assert (images[0] == scene.image).all() and result.image is not scene.image


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    least=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    most_covered=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_pasted_objects_are_where_their_boxes_say(
    seed: int, least: float, most_covered: float
) -> None:
    random = np.random.default_rng(seed)
    first, other = scenes(random, 2)
    mix = CopyPaste(most=3, scale=(1.0, 1.0), most_covered=most_covered, least_visible=least)
    result = mix(first, [other], random)
    assert result.size_hw == first.size_hw
    kept, pasted = listed(result)[: len(first.labels)], listed(result)[len(first.labels) :]
    assert kept == listed(first)  # nothing that was there is lost
    hidden = result.image[..., 0] == NAMES[1]
    for x1, y1, x2, y2 in first.boxes_xyxy.astype(int).tolist():
        assert hidden[y1:y2, x1:x2].mean() <= most_covered + 1e-9
    # What is left of the image is as it was.
    assert (result.image[~hidden] == first.image[~hidden]).all()
    # Each cut is a whole object; what else is in it is labelled by how much of it is.
    sources = {int(label): box for box, label in zip(other.boxes_xyxy, other.labels, strict=True)}
    for x1, y1, x2, y2, label in pasted:
        part = result.image[int(y1) : int(y2), int(x1) : int(x2)]
        assert (part[..., 0] == NAMES[1]).all()
        if label >= 0:
            sx1, sy1, sx2, sy2 = sources[int(label)]
            share = (x2 - x1) * (y2 - y1) / ((sx2 - sx1) * (sy2 - sy1))
            assert least <= share <= 1
            assert part[0, 0, 1] >= sx1 and part[-1, -1, 1] < sx2
            assert part[0, 0, 2] >= sy1 and part[-1, -1, 2] < sy2
    # Every source box that reaches into what was pasted has a box there.
    columns, rows = result.image[..., 1].astype(int), result.image[..., 2].astype(int)
    boxes = np.array([box[:4] for box in pasted]).reshape(-1, 4)
    for x1, y1, x2, y2 in other.boxes_xyxy.tolist():
        inside = hidden & (columns >= x1) & (columns < x2) & (rows >= y1) & (rows < y2)
        for y, x in zip(*inside.nonzero(), strict=True):
            assert ((boxes[:, :2] <= (x, y)) & (boxes[:, 2:] > (x, y))).all(axis=1).any()


def test_objects_are_pasted_where_there_is_room() -> None:
    random = np.random.default_rng(0)
    empty = Scene(np.zeros((80, 80, 3), np.uint8), np.zeros((0, 4)), np.zeros(0, np.int64))
    boxes = np.array([[2.0, 2, 12, 12], [20, 20, 35, 30], [40, 5, 50, 25]])
    full = Scene(np.full((60, 60, 3), 7, np.uint8), boxes, np.array([4, 5, -1]))
    counts = []
    for _ in range(60):
        result = CopyPaste(most=2, scale=(0.5, 1.5))(empty, [full], random)
        assert set(result.labels.tolist()) <= {4, 5}  # one to be ignored is no object
        counts.append(len(result.labels))
    assert set(counts) == {1, 2} and 15 < counts.count(1) < 45
    assert len(CopyPaste()(full, [empty], random).labels) == 3  # nothing to paste: as it was
    crowded = Scene(full.image, np.array([[0.0, 0, 60, 60]]), np.array([1]))
    assert len(CopyPaste(most_covered=0.0)(crowded, [full], random).labels) == 1


@pytest.mark.parametrize("kind", [Mosaic, MixUp, CopyPaste])
@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_scaled_objects_fill_their_boxes(kind: type[Mix], seed: int) -> None:
    """One object of a colour of its own in each image, on black."""
    random = np.random.default_rng(seed)
    made = []
    for index in range(1 + kind.partners):
        image = np.zeros((120, 160, 3), np.uint8)
        x, y = random.integers(0, 90, 2).tolist()
        w, h = random.integers(20, 30, 2).tolist()
        colour = np.zeros(3, np.uint8)
        colour[: 1 + index % 3] = (250, 200, 150)[: 1 + index % 3] if index < 3 else 60
        image[y : y + h, x : x + w] = colour
        made.append(Scene(image, np.array([[x, y, x + w, y + h]], float), np.array([index])))
    options: dict[str, object] = {"share": (0.0, 0.0)} if kind is MixUp else {}
    result = kind(scale=(0.6, 1.4), least_visible=0.5, **options)(made[0], made[1:], random)  # type: ignore[arg-type]
    for (x1, y1, x2, y2), label in zip(result.boxes_xyxy, result.labels.tolist(), strict=True):
        if label < 1:  # the image's own, which a mixture may hide
            continue
        source = made[label]
        colour = source.image[tuple(source.boxes_xyxy[0, [1, 0]].astype(int))]
        inside = result.image[int(y1) + 2 : int(y2) - 1, int(x1) + 2 : int(x2) - 1].astype(int)
        assert not inside.size or np.abs(inside - colour).max() <= 3
        assert min(x2 - x1, y2 - y1) >= 5  # half of an object of 20 pixels, scaled by 0.6


def test_a_box_that_is_cut_too_much_is_to_be_ignored() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [6, 0, 16, 10], [8, 0, 18, 10], [20, 0, 30, 10]])
    found, labels = cut(boxes, np.array([3, 4, 5, 6]), (0, 0, 10, 10), 0.25)
    assert labels.tolist() == [3, 4, -1]  # all of it, 0.4, 0.2, and the last is gone
    assert found.tolist() == [[0, 0, 10, 10], [6, 0, 10, 10], [8, 0, 10, 10]]


def test_the_same_state_gives_the_same() -> None:
    for mix in (Mosaic(), MixUp(), CopyPaste()):
        first, *others = scenes(np.random.default_rng(5), 1 + mix.partners)
        results = [mix(first, others, np.random.default_rng(seed)) for seed in (1, 1, 2)]
        for one, other in pairwise(results[:2]):
            assert np.array_equal(one.image, other.image) and listed(one) == listed(other)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (Mosaic, {"p": 1.5}, r"Mosaic\.p=1\.5: give a number in \[0, 1\]"),
        (Mosaic, {"center": (0.7, 0.3)}, r"Mosaic\.center=\[0\.7, 0\.3\]: give two numbers"),
        (MixUp, {"scale": (0.0, 1.0)}, r"MixUp\.scale=\[0\.0, 1\.0\]: give two numbers"),
        (MixUp, {"share": (0.4,)}, r"MixUp\.share"),
        (CopyPaste, {"most": 0}, r"CopyPaste\.most=0: give 1 or more"),
        (CopyPaste, {"most_covered": 1.0}, r"CopyPaste\.most_covered=1\.0"),
        (CopyPaste, {"least_visible": -1}, r"CopyPaste\.least_visible=-1"),
    ],
)
def test_values_that_mean_nothing_are_refused(
    kind: type[Mix], options: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        kind(**options)  # type: ignore[arg-type]

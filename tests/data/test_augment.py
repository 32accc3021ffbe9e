import random
import subprocess
import sys
from collections import Counter

import albumentations as A
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcos_lightning.data.augment import Augmentation, LargeScaleJitter, ShorterSide
from fcos_lightning.errors import UserError

NONE = np.zeros((0, 4)), np.zeros(0, dtype=np.int64)


def picture(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((480, 640), (800, 1067)),  # the shorter side becomes 800
        ((640, 480), (1067, 800)),
        ((300, 1000), (400, 1333)),  # the longer one would pass 1333
        ((2000, 2000), (800, 800)),
        ((800, 1333), (800, 1333)),
        ((1, 500), (3, 1333)),
    ],
)
def test_shorter_and_longer_side_as_detection_people_mean_it(
    size: tuple[int, int], resized: tuple[int, int]
) -> None:
    augment = Augmentation([ShorterSide(800, 1333)])
    image, *_ = augment(picture(*size), *NONE, seed=0)
    assert image.shape[:2] == resized


def test_sizes_are_drawn_from_the_list_and_scales_from_the_range() -> None:
    several = Augmentation([ShorterSide([64, 96], 1000)])
    assert {several(picture(50, 50), *NONE, seed=s)[0].shape[0] for s in range(20)} == {64, 96}
    scaled = Augmentation([ShorterSide(100, 200, scale=(0.5, 2.0))])
    sides = [scaled(picture(50, 50), *NONE, seed=s)[0].shape[0] for s in range(300)]
    assert min(sides) >= 50 and max(sides) <= 200
    assert 0.4 < np.mean(np.array(sides) < 100) < 0.6  # halving is as likely as doubling


def test_shrinking_averages_and_keeps_thin_lines_visible() -> None:
    image = picture(400, 400)
    image[:, ::4] = 255
    small, *_ = Augmentation([ShorterSide(100, 200)])(image, *NONE, seed=0)
    assert abs(float(small.mean()) - 255 / 4) < 2


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), boxes=st.integers(0, 6))
def test_boxes_stay_on_their_objects_and_labels_with_them(seed: int, boxes: int) -> None:
    """Each object has a colour of its own; after all changes it still fills its box."""
    random = np.random.default_rng(seed)
    image = picture(120, 160)
    given_boxes, labels = [], []
    for index in range(boxes):
        x, y = 5 + 25 * index, int(random.integers(5, 60))
        w, h = int(random.integers(8, 20)), int(random.integers(8, 40))
        image[y : y + h, x : x + w] = 40 * (index + 1)
        given_boxes.append((x, y, x + w, y + h))
        labels.append(index)
    augment = Augmentation(
        [
            ShorterSide(120, 400, scale=(0.8, 1.5)),
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
            A.RandomRotate90(p=0.5),
        ]
    )
    out, found, kept, dropped = augment(
        image,
        np.array(given_boxes, dtype=np.float64).reshape(-1, 4),
        np.array(labels, dtype=np.int64),
        seed,
    )
    assert dropped == 0 and sorted(kept) == labels
    assert found.dtype == np.float32
    for (x1, y1, x2, y2), label in zip(found, kept, strict=True):
        middle = out[int((y1 + y2) / 2), int((x1 + x2) / 2)]
        assert np.all(middle == 40 * (label + 1))
        inside = out[int(np.ceil(y1)) + 1 : int(y2) - 1, int(np.ceil(x1)) + 1 : int(x2) - 1]
        assert np.all(inside == 40 * (label + 1))


def test_the_seed_alone_decides() -> None:
    augment = Augmentation([ShorterSide([50, 60, 70], 100), A.HorizontalFlip(), A.GaussNoise(p=1)])
    image = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    first = [augment(image, *NONE, seed=s)[0] for s in range(6)]
    again = [augment(image, *NONE, seed=s)[0] for s in reversed(range(6))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({a.tobytes() for a in first}) == 6


def test_transforms_draw_independently_of_each_other() -> None:
    image = picture(60, 60)
    image[:20, :30] = 255
    flips = Augmentation([ShorterSide([60, 90], 200), A.HorizontalFlip(), A.VerticalFlip()])
    seen = Counter()
    for seed in range(400):
        out, *_ = flips(image, *NONE, seed)
        seen[out.shape[0], bool(out[:, -1].any()), bool(out[-1].any())] += 1
    assert len(seen) == 8 and min(seen.values()) > 25  # 50 of each are expected


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([(0.1, 2.0), (1.0, 1.0), (1.4, 2.0)]))
def test_large_scale_jitter_keeps_a_window_and_boxes_on_their_objects(
    seed: int, scale: tuple[float, float]
) -> None:
    random = np.random.default_rng(seed)
    height, width = random.integers(40, 200, 2).tolist()
    image = picture(height, width)
    boxes = []
    for index in range(4):  # a row of objects, each of a grey of its own
        x, w = index * width // 4 + 1, width // 4 - 2
        y = int(random.integers(0, height - 20))
        image[y : y + 20, x : x + w] = 60 * (index + 1)
        boxes.append((x, y, x + w, y + 20))
    augment = Augmentation([LargeScaleJitter(96, 160, scale=scale)], min_visibility=0.2)
    out, found, kept, _ = augment(image, np.array(boxes, dtype=float), np.arange(4), seed)
    whole, *_ = Augmentation([ShorterSide(96, 160)])(image, *NONE, seed=0)
    assert out.shape[0] <= whole.shape[0] and out.shape[1] <= whole.shape[1]
    if scale[0] >= 1:
        assert out.shape == whole.shape
    if scale == (1.0, 1.0):
        assert np.array_equal(out, whole) and kept.tolist() == [0, 1, 2, 3]
    for (x1, y1, x2, y2), label in zip(found, kept, strict=True):
        ends = max(int(y2) - 6, 0), max(int(x2) - 6, 0)
        inside = out[int(y1) + 6 : ends[0], int(x1) + 6 : ends[1]]  # where it is enlarged
        assert np.all(np.abs(inside.astype(int) - 60 * (label + 1)) <= 2)
    # An object of which much is shown has a box.
    for label in range(4):
        shown = np.argwhere((out == 60 * (label + 1)).all(axis=2))
        if len(shown) > 0.5 * 20 * (width // 4) * 2.0**2 * (96 / min(height, width)) ** 2:
            assert label in kept


def test_large_scale_jitter_draws_halving_as_often_as_doubling() -> None:
    augment = Augmentation([LargeScaleJitter(64, 64, scale=(0.25, 4.0))])
    sides = [augment(picture(64, 64), *NONE, seed=seed)[0].shape[0] for seed in range(300)]
    assert 0.4 < np.mean(np.array(sides) < 64) < 0.6 and min(sides) < 20 and max(sides) == 64
    rarely = Augmentation([LargeScaleJitter(64, 64, scale=(0.5, 0.5), p=0.25)])
    sides = [rarely(picture(64, 64), *NONE, seed=seed)[0].shape[0] for seed in range(300)]
    assert set(sides) == {32, 64} and 50 < sides.count(32) < 100


@pytest.mark.parametrize("options", [{"scale": (0.0, 1.0)}, {"scale": (2.0, 1.0)}])
def test_large_scale_jitter_refuses_what_means_nothing(options: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"LargeScaleJitter\.scale=.*: give two numbers"):
        LargeScaleJitter(64, 64, **options)


RECIPES = {
    "resizing": [ShorterSide([80, 120], 200, scale=(0.5, 1.5)), A.HorizontalFlip()],
    "large-scale jitter": [LargeScaleJitter(80, 120), A.HorizontalFlip()],
    "turns": [A.HorizontalFlip(), A.VerticalFlip(), A.RandomRotate90(), ShorterSide(90, 200)],
    "safe crops": [A.BBoxSafeRandomCrop(erosion_rate=0.2), A.GaussNoise(p=0.5)],
    "crops and padding": [A.RandomCrop(60, 70), A.PadIfNeeded(120, 120), A.HorizontalFlip()],
    "nested": [A.OneOf([A.RandomCrop(60, 70), A.Rotate(30), A.HueSaturationValue()], p=0.8)],
    "holes": [A.CoarseDropout(num_holes_range=(3, 5), p=1), A.HorizontalFlip()],
    "warps": [A.Affine(translate_percent=(-0.4, 0.4), shear=(-15, 15)), A.Perspective()],
}


@pytest.mark.parametrize("min_visibility", [0.0, 0.3])
@pytest.mark.parametrize("name", RECIPES)
def test_images_and_boxes_are_those_of_compose(name: str, min_visibility: float) -> None:
    numbers = np.random.default_rng(0)
    augment = Augmentation(RECIPES[name], min_visibility, min_side_px=0)
    compose = A.Compose(
        RECIPES[name],
        bbox_params=A.BboxParams(
            format="pascal_voc",
            label_fields=["rows"],
            min_visibility=min_visibility,
            clip=True,
            filter_invalid_bboxes=True,
        ),
    )
    image = numbers.integers(0, 256, (100, 130, 3), dtype=np.uint8)
    for seed in range(30):
        corners = numbers.uniform(-10, 130, (int(numbers.integers(0, 6)), 2))
        boxes = np.hstack([corners, corners + numbers.uniform(5, 60, corners.shape)])
        boxes = boxes[(boxes[:, 0] < 130) & (boxes[:, 1] < 100) & (boxes[:, 2:] > 0).all(axis=1)]
        labels = np.arange(len(boxes)) + 7
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        # Forced, it draws no number for whether to run at all.
        plain = compose(force_apply=True, image=image, bboxes=boxes, rows=labels)

        out, found, kept, dropped = augment(image, boxes, labels, seed)

        np.testing.assert_array_equal(out, plain["image"])
        np.testing.assert_allclose(found, np.reshape(plain["bboxes"], (-1, 4)), atol=1e-3)
        assert kept.tolist() == list(plain["rows"]) and dropped == 0


@pytest.mark.parametrize(
    "transform", [A.Normalize(), A.ToFloat(max_value=255), A.ToGray(num_output_channels=1, p=1)]
)
def test_images_the_detector_does_not_take_are_refused(transform: A.BasicTransform) -> None:
    augment = Augmentation([transform, A.HorizontalFlip()])
    with pytest.raises(UserError, match=r"augment\.transforms give .*uint8 \[H, W, 3\]"):
        augment(picture(20, 30), *NONE, seed=0)


def test_degenerate_boxes_go_and_are_counted() -> None:
    augment = Augmentation([ShorterSide(50, 100)])
    boxes = np.array(
        [
            [10.0, 10.0, 40.0, 40.0],
            [10.0, 10.0, 10.5, 40.0],  # a quarter of a pixel after halving
            [90.0, 90.0, 150.0, 150.0],  # sticks out: clipped
            [-30.0, -30.0, 0.0, 0.0],  # outside: not there, so not counted
        ]
    )
    _, found, labels, dropped = augment(picture(100, 100), boxes, np.arange(4), seed=0)
    assert labels.tolist() == [0, 2] and dropped == 1
    assert found == pytest.approx(
        np.array([[5.0, 5.0, 20.0, 20.0], [45.0, 45.0, 50.0, 50.0]]), abs=1e-4
    )


def test_a_box_that_is_nothing_in_float32_is_counted() -> None:
    augment = Augmentation([ShorterSide(100, 100)], min_side_px=0)
    boxes = np.array([[10.0, 10.0, 10.0 + 1e-9, 40.0], [99.9999999, 10.0, 200.0, 40.0]])
    _, found, _, dropped = augment(picture(100, 100), boxes, np.arange(2), seed=0)
    assert len(found) == 0 and dropped == 2


def test_a_crop_drops_what_is_hardly_visible() -> None:
    crop = A.Crop(x_min=0, y_min=0, x_max=50, y_max=50)
    boxes = np.array([[45.0, 10.0, 95.0, 20.0], [30.0, 10.0, 60.0, 20.0]])
    augment = Augmentation([crop], min_visibility=0.2)
    _, found, labels, _ = augment(picture(100, 100), boxes, np.arange(2), seed=0)
    assert labels.tolist() == [1]
    assert found[0] == pytest.approx([30.0, 10.0, 50.0, 20.0], abs=1e-4)


def test_importing_asks_no_network_for_a_newer_version() -> None:
    code = (
        "import socket, urllib.request\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.create_connection = urllib.request.urlopen = refuse\n"
        "socket.socket.connect = refuse\n"
        "import fcos_lightning.data.augment, os\n"
        "assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1'\n"
    )
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], check=True)

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.inference.scenes import NAMES, SIDES, write_checkpoint

from fcos_lightning import Detections, Predictor, load_detector
from fcos_lightning.checkpoints import Checkpoint, published
from fcos_lightning.data import CocoDataModule
from fcos_lightning.data.images import read_image
from fcos_lightning.errors import UserError
from fcos_lightning.inference.asked import sides_of
from fcos_lightning.training.testing import evaluate


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> Predictor:
    return Predictor.load(checkpoint, device="cpu")


def rows(found: Detections) -> list[tuple[float, ...]]:
    return [
        (*box, score, label)
        for box, score, label in zip(
            found.boxes_xyxy.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
        )
    ]


def test_it_finds_what_evaluation_finds_to_the_last_bit(
    checkpoint: Path, photos: list[Path], tmp_path: Path, predictor: Predictor
) -> None:
    """As ``fcos-test`` does: the data module's images, in the same size, through one module."""
    sizes = [Image.open(file).size for file in photos]
    images = [
        {"id": number, "file_name": file.name, "width": width, "height": height}
        for number, (file, (width, height)) in enumerate(zip(photos, sizes, strict=True))
    ]
    box = {"id": 1, "image_id": 0, "category_id": 7, "bbox": [1, 1, 9, 9], "iscrowd": 0, "area": 81}
    content = {
        "images": images,
        "annotations": [box],
        "categories": [{"id": 7, "name": "cat"}, {"id": 90, "name": "dog"}],
    }
    (tmp_path / "val.json").write_text(json.dumps(content))
    data = CocoDataModule(
        tmp_path,
        annotations="val.json",
        images=str(photos[0].parent),
        cache=False,
        train_split="val",
        val_split="val",
        num_workers=0,
        **SIDES,
    )
    detector = load_detector(checkpoint)
    data.read_val(detector.class_names, detector.category_ids)
    assert data.val.truth.category_ids == tuple(detector.category_ids)
    settings = {"accelerator": "cpu", "devices": 1}
    _, table, _ = evaluate(predictor.detector, data, settings, progress=False)
    for number, file in enumerate(photos):
        found = predictor(file)
        mine = table.image_ids == number
        assert len(found) == mine.sum() > 0
        np.testing.assert_array_equal(found.boxes_xyxy.numpy(), table.boxes_xyxy[mine])
        np.testing.assert_array_equal(found.scores.numpy(), table.scores[mine])
        np.testing.assert_array_equal(found.labels.numpy(), table.labels[mine])


def test_every_guise_of_an_image_gives_the_same_boxes(
    predictor: Predictor, photos: list[Path]
) -> None:
    pixels = read_image(photos[0])
    guises: list[Any] = [str(photos[0]), photos[0], pixels, Image.fromarray(pixels)]
    guises.append(torch.from_numpy(pixels).permute(2, 0, 1))
    found = [predictor(guise) for guise in guises]
    assert all(rows(one) == rows(found[0]) for one in found) and len(found[0]) > 0
    together = predictor(guises)
    assert isinstance(together, list) and list(map(rows, together)) == list(map(rows, found))


def test_boxes_lie_in_the_image_given_and_carry_names(
    predictor: Predictor, photos: list[Path]
) -> None:
    for file in photos:
        height, width = read_image(file).shape[:2]
        found = predictor(file)
        far = torch.tensor([width, height, width, height])
        assert (found.boxes_xyxy >= 0).all() and (found.boxes_xyxy <= far + 1e-3).all()
        assert found.class_names == NAMES == predictor.class_names
        assert found.names == tuple(NAMES[label] for label in found.labels.tolist())
        assert (found.scores.diff() <= 0).all()


def test_several_images_come_in_their_order_whatever_the_batch(
    checkpoint: Path, photos: list[Path]
) -> None:
    pixels = read_image(photos[0])
    images = [np.roll(pixels, 30 * step, axis=1) for step in range(5)]
    alone = [rows(Predictor.load(checkpoint, device="cpu")(image)) for image in images]
    assert len({tuple(one[0]) for one in alone}) == 5
    batched = Predictor.load(checkpoint, device="cpu", batch_size=2)
    for given in (images, tuple(images), iter(images), map(Image.fromarray, images)):
        found = batched(given)
        for one, expected in zip(found, alone, strict=True):
            np.testing.assert_allclose(rows(one), expected, atol=1e-3)
    assert batched([]) == []


def test_images_of_a_batch_are_padded_as_in_training(checkpoint: Path, photos: list[Path]) -> None:
    batched = Predictor.load(checkpoint, device="cpu", batch_size=2)
    images = [read_image(photos[3])[:64], read_image(photos[3])[:64, :70]]  # of 64: not resized
    by_hand = batched.detector.detect([torch.from_numpy(one).permute(2, 0, 1) for one in images])
    assert list(map(rows, batched(images))) == list(map(rows, by_hand))


def test_a_stream_reads_no_further_than_its_batch(checkpoint: Path) -> None:
    predictor = Predictor.load(checkpoint, device="cpu", batch_size=2)
    given = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal given
        while True:
            given += 1
            yield np.zeros((64, 64, 3), np.uint8)

    stream = predictor.stream(endless())
    assert given == 0
    ahead = []
    for taken in range(1, 8):
        next(stream)
        ahead.append(given - taken)
    assert ahead == [1, 0, 1, 0, 1, 0, 1]


def test_what_was_found_before_a_bad_image_comes_out_first(
    checkpoint: Path, photos: list[Path]
) -> None:
    predictor = Predictor.load(checkpoint, device="cpu", batch_size=4)
    stream = predictor.stream([*photos[:2], "absent.png", photos[2]])
    assert rows(next(stream)) and rows(next(stream))
    with pytest.raises(UserError, match=r"absent\.png does not exist"):
        next(stream)


def test_options_of_the_caller(checkpoint: Path, photos: list[Path], tmp_path: Path) -> None:
    usual = Predictor.load(checkpoint, device="cpu")(photos[0])
    score = float(usual.scores[3])
    strong = Predictor.load(checkpoint, device="cpu", score_threshold=score)(photos[0])
    assert rows(strong) == rows(usual)[: len(strong)] and len(strong) >= 4
    assert (strong.scores >= score).all() and (usual.scores[len(strong) :] < score).all()

    few = Predictor.load(checkpoint, device="cpu", decoder={"max_detections": 3})(photos[0])
    assert rows(few) == rows(usual)[:3]

    larger = Predictor.load(checkpoint, device="cpu", shorter_side=90)
    assert (larger.shorter_side, larger.longer_side) == (90, 96)
    assert rows(larger(photos[0])) != rows(usual)

    silent = write_checkpoint(tmp_path / "silent.ckpt", named=False)
    with pytest.raises(UserError, match=r"does not say .* shorter_side= and longer_side="):
        Predictor.load(silent)
    nameless = Predictor.load(silent, device="cpu", **SIDES)(photos[0])
    assert rows(nameless) == rows(usual)
    assert nameless.names is None and nameless.class_names is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shorter_side": 100}, "longer_side=96 is below shorter_side=100"),
        ({"shorter_side": 0}, "shorter_side=0: give a whole number"),
        ({"shorter_side": 64.0}, "shorter_side=64.0: give a whole number"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": True}, "batch_size=True"),
        ({"score_threshold": 1.5}, "score_threshold=1.5: give 0 to 1"),
        ({"score_threshold": float("nan")}, "score_threshold=nan"),
        ({"score_threshold": "high"}, "score_threshold=high"),
        ({"device": "tpu"}, "device=tpu: give auto"),
        ({"channels_last": "yes"}, "channels_last=yes"),
        ({"recipe": "plain"}, "recipe=plain"),
    ],
)
def test_options_out_of_their_range(
    checkpoint: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Predictor.load(checkpoint, **{"device": "cpu", **options})


def test_a_folder_is_no_image(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; give the files in it"):
        predictor(tmp_path)
    with pytest.raises(UserError, match="cannot be a NoneType"):
        predictor(None)  # type: ignore[call-overload]


def test_the_detector_given_stays_as_it_is(checkpoint: Path) -> None:
    detector = load_detector(checkpoint)
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    Predictor(detector, **SIDES, device="cpu")
    assert list(before) == list(detector.state_dict())
    assert all(torch.equal(before[key], value) for key, value in detector.state_dict().items())


@pytest.mark.parametrize("size", [(1, 1), (2, 2000), (3000, 1), (1, 40_000)])
def test_very_long_and_very_small_images(predictor: Predictor, size: tuple[int, int]) -> None:
    found = predictor(np.full((*size, 3), 90, np.uint8))
    far = torch.tensor([size[1], size[0]]).repeat(2)
    assert (found.boxes_xyxy >= 0).all() and (found.boxes_xyxy <= far * (1 + 1e-6)).all()


def test_too_little_memory_says_what_to_do(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(images: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(predictor.detector, "detect", full)
    with pytest.raises(UserError, match="smaller batch_size= or shorter_side="):
        predictor(np.zeros((9, 9, 3), np.uint8))


def test_published_names_are_taken(
    checkpoint: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file lies in the cache, as it does after the first fetch."""
    name = "torchvision/fcos_resnet50_fpn_coco"
    entry = published.Published("torchvision", "net.ckpt")
    monkeypatch.setitem(published.PUBLISHED, name, entry)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = tmp_path / "fcos-lightning/checkpoints/torchvision/net.ckpt"
    place.parent.mkdir(parents=True)
    place.write_bytes(checkpoint.read_bytes())
    expected = rows(Predictor.load(checkpoint, device="cpu")(photos[0]))
    assert rows(Predictor.load(name, device="cpu")(photos[0])) == expected
    assert load_detector(name).class_names == load_detector(checkpoint).class_names
    with pytest.raises(UserError, match="publishes no such checkpoint; there are torchvision/fcos"):
        load_detector("torchvision/fcos_resnet")


def test_the_room_loads_no_framework(checkpoint: Path, photos: list[Path]) -> None:
    code = (
        "import sys; from fcos_lightning import Predictor\n"
        f"found = Predictor.load({str(checkpoint)!r}, device='cpu')({str(photos[0])!r})\n"
        "assert len(found), 'nothing found'\n"
        "heavy = {'lightning', 'hydra', 'omegaconf', 'albumentations', 'matplotlib', 'rich'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_sides_come_from_the_checkpoint_of_another_project() -> None:
    def checkpoint(**about: int) -> Checkpoint:
        return Checkpoint(Path("a.pth"), {}, {}, about, {})

    foreign = checkpoint(shorter_side=600, longer_side=900)
    assert sides_of(foreign) == (600, 900)
    assert sides_of(foreign, None, 800) == (600, 800)
    with pytest.raises(UserError, match="give longer_side= in pixels"):
        sides_of(checkpoint(), 600)


def test_tiles_find_what_lies_in_each_tile(checkpoint: Path) -> None:
    """One tile's boxes are those of the tile as an image, moved to its place."""
    predictor = Predictor.load(checkpoint, device="cpu", tiles="96x96", tiles_overlap=0.0)
    plain = Predictor.load(checkpoint, device="cpu")
    small = np.random.default_rng(0).integers(0, 256, (4, 8, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(small).resize((192, 96), Image.Resampling.BICUBIC))
    found = predictor(image)
    assert found.class_names == NAMES and (found.scores.diff() <= 0).all() and len(found) > 0
    views = [(image[:, :96], 0), (image[:, 96:], 96), (image, 0)]
    every = torch.cat(
        [
            plain(np.ascontiguousarray(view)).boxes_xyxy + torch.tensor([left, 0, left, 0])
            for view, left in views
        ]
    )
    apart = (found.boxes_xyxy[:, None] - every).abs().amax(dim=2).amin(dim=1)
    assert apart.max() < 1e-3
    # Images that are no larger than a tile are looked at as without tiles, also in one list.
    alone = image[:, :80].copy()
    mixed = predictor([alone, image, alone])
    assert rows(mixed[0]) == rows(plain(alone)) == rows(mixed[2])
    assert rows(mixed[1]) == rows(found)
    for options, message in (
        ({"tiles": "small"}, "tiles=small: give auto, or a size"),
        ({"tiles": "auto", "tiles_overlap": 0.7}, "tiles_overlap=0.7"),
    ):
        with pytest.raises(UserError, match=message):
            Predictor.load(checkpoint, device="cpu", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"threshold": 0.3}, "Predictor.load has no threshold=; give score_threshold="),
        ({"conf": 0.3}, "give score_threshold="),
        ({"shorter_sid": 64}, "give shorter_side="),
        ({"necks": {}}, "necks= is no part of a detector; there are backbone, fpn"),
    ],
)
def test_options_that_there_are_not_are_named(
    checkpoint: Path, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        Predictor.load(checkpoint, device="cpu", **given)


def test_a_path_is_no_stream_of_letters(predictor: Predictor, photos: list[Path]) -> None:
    with pytest.raises(UserError, match="stream takes several images: give a list of them"):
        next(predictor.stream(str(photos[0])))

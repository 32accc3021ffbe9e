"""What is written as labels comes back through the readers of data sets as the same boxes."""

import json
import re
from fractions import Fraction
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from fcos_lightning.data.finding.find import find_layout
from fcos_lightning.data.finding.layout import Options
from fcos_lightning.data.images import image_frame, read_image
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.errors import UserError
from fcos_lightning.inference.labels.choice import FORMATS, chosen_formats, open_labels
from fcos_lightning.inference.labels.crops import folder_names
from fcos_lightning.inference.labels.found import ClassList, Found
from fcos_lightning.inference.pictures.picture import Picture
from fcos_lightning.inference.sources import ImageFiles, find_source
from fcos_lightning.inference.videos.video import VideoFile
from fcos_lightning.structures import Detections

NAMES = ("zebra & co", "Straße", "no such")
CLASSES = ClassList(NAMES, (7, 3, 90))
#: By their names: height and width as stored, EXIF orientation, and how many boxes.
PICTURES = {
    "b.png": ((40, 70), 1, 3),
    "sub dir/a,1.jpg": ((64, 33), 6, 4),
    "sub dir/c.jpg": ((30, 50), 3, 1),
    "sub dir/empty.png": ((30, 30), 1, 0),
    "z.webp": ((51, 37), 8, 5),
}


@pytest.fixture
def photos(tmp_path: Path) -> ImageFiles:
    for number, (name, ((height, width), orientation, _)) in enumerate(PICTURES.items()):
        file = tmp_path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = orientation
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, exif=exif)
    source = find_source(str(tmp_path / "in"))
    assert isinstance(source, ImageFiles)
    return source


def seen_in(picture: Picture, seed: int, count: int) -> Detections:
    """Boxes within the image as it is looked at, wider than a pixel, best first."""
    random = np.random.default_rng(seed)
    height, width = picture.pixels.shape[:2]
    xy = random.uniform(0, [width - 8, height - 8], (count, 2))
    wh = random.uniform(2, 8, (count, 2))
    return Detections(
        torch.tensor(np.concatenate([xy, xy + wh], axis=1), dtype=torch.float32),
        torch.tensor(np.sort(random.uniform(0.3, 1, count))[::-1].copy(), dtype=torch.float32),
        torch.tensor(random.integers(0, 2, count)),
        NAMES,
    )


def written(out: Path, source: ImageFiles, *words: str, images: bool = True) -> list[Found]:
    out.mkdir()
    every = []
    with open_labels(words, out, CLASSES, "photos", "best", False, images) as labels:
        for number, name in enumerate(source.names, 1):
            picture = source.read(number)
            assert isinstance(picture, Picture)
            found = Found(picture, seen_in(picture, number, PICTURES[name][2]))
            labels.write_files(found)
            labels.write(found)
            every.append(found)
    return every


def assert_the_same(split: DataSplit, every: list[Found]) -> None:
    """Images, sizes, classes by their names and boxes, in the order of the split's images."""
    truth = split.truth
    names = truth.file_names.tolist()
    assert sorted(names) == sorted(PICTURES) and not split.dropped
    for found in every:
        image = names.index(found.picture.name)
        assert tuple(truth.sizes_hw[image]) == PICTURES[found.picture.name][0]
        rows = truth.rows(image)
        classes = [truth.class_names[label] for label in truth.labels[rows]]
        boxes, expected = truth.boxes_xyxy[rows], found.stored_xyxy
        places, wanted = (np.lexsort(np.round(one, 1).T) for one in (boxes, expected))
        np.testing.assert_allclose(boxes[places], expected[wanted], atol=2e-3)
        given = found.detections.names
        assert given is not None
        assert [classes[at] for at in places] == [given[at] for at in wanted]


@pytest.mark.parametrize("word", ["coco", "yolo", "voc", "csv"])
def test_it_is_a_data_set_with_the_same_boxes(
    word: str, photos: ImageFiles, tmp_path: Path
) -> None:
    every = written(tmp_path / "out", photos, word)
    layout = find_layout(tmp_path / "out" / word)
    assert layout.format == word and len(layout.sets) == 1
    split = layout.read(layout.sets[0], None, Options(strict=True, cache=False))
    assert_the_same(split, every)
    for name, path in zip(photos.names, photos.paths, strict=True):
        assert (split.image_dir / name).read_bytes() == path.read_bytes()
    if word == "yolo":
        assert split.truth.class_names == NAMES  # also of classes that were not found
    if word == "coco":
        classes = dict(zip(split.truth.category_ids, split.truth.class_names, strict=True))
        assert classes == dict(zip(CLASSES.ids, NAMES, strict=True))


def test_boxes_are_turned_as_pillow_turns_pixels(photos: ImageFiles) -> None:
    turned = 0
    for number in range(1, len(photos) + 1):
        picture = photos.read(number)
        assert isinstance(picture, Picture) and picture.path is not None
        found = Found(picture, seen_in(picture, number, 6))
        assert found.stored_hw == PICTURES[picture.name][0]
        (height, width), orientation = image_frame(picture.path)
        turned += orientation != 1
        # Each pixel holds its own number, and so tells where it lies in the stored image.
        numbers = np.arange(height * width, dtype=np.int32).reshape(height, width)
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = Image.fromarray(numbers)
        stored.getexif()[0x0112] = orientation
        upright = np.asarray(ImageOps.exif_transpose(stored))
        assert upright.shape == found.upright_hw
        for box, expected in zip(found.upright_xyxy, found.stored_xyxy, strict=True):
            x1, y1 = np.floor(box[:2]).astype(int)
            x2, y2 = np.ceil(box[2:]).astype(int)
            rows, columns = np.divmod(upright[y1:y2, x1:x2], width)
            around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert np.abs(np.array(around) - expected).max() < 1
    assert turned == 3


def test_cvat_holds_boxes_of_the_image_as_it_is_looked_at(
    photos: ImageFiles, tmp_path: Path
) -> None:
    every = written(tmp_path / "out", photos, "cvat", images=False)
    root = ElementTree.parse(tmp_path / "out" / "cvat" / "annotations.xml").getroot()
    assert root.tag == "annotations" and root.findtext("version") == "1.1"
    assert [one.text for one in root.findall("meta/task/labels/label/name")] == list(NAMES)
    images = root.findall("image")
    assert [int(image.attrib["id"]) for image in images] == list(range(len(every)))
    for image, found in zip(images, every, strict=True):
        assert image.attrib["name"] == found.picture.name
        size = int(image.attrib["height"]), int(image.attrib["width"])
        assert size == found.picture.pixels.shape[:2]
        boxes = image.findall("box")
        corners = [[float(box.attrib[k]) for k in ("xtl", "ytl", "xbr", "ybr")] for box in boxes]
        given = np.array(corners).reshape(-1, 4)
        np.testing.assert_allclose(given, found.detections.boxes_xyxy, atol=1e-3)
        assert tuple(box.attrib["label"] for box in boxes) == found.detections.names
        assert {(box.attrib["source"], box.attrib["occluded"]) for box in boxes} <= {("auto", "0")}


def test_label_studio_counts_in_per_cent(photos: ImageFiles, tmp_path: Path) -> None:
    every = written(tmp_path / "out", photos, "labelstudio", images=False)
    folder = tmp_path / "out" / "labelstudio"
    interface = ElementTree.parse(folder / "interface.xml").getroot()
    image_tag, labels_tag = interface.find("Image"), interface.find("RectangleLabels")
    assert image_tag is not None and labels_tag is not None
    assert [label.attrib["value"] for label in labels_tag] == list(NAMES)
    tasks = json.loads((folder / "tasks.json").read_text())
    assert len(tasks) == len(every)
    for task, found in zip(tasks, every, strict=True):
        address = task["data"][image_tag.attrib["value"].removeprefix("$")]
        place, _, name = address.partition("?d=")
        assert (place, unquote(name)) == ("/data/local-files/", found.picture.name)
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "best"
        scores = found.detections.scores.tolist()
        assert prediction["score"] == pytest.approx(np.mean(scores) if scores else 0, abs=1e-5)
        height, width = found.picture.pixels.shape[:2]
        boxes = []
        for result in prediction["result"]:
            assert result["from_name"] == labels_tag.attrib["name"]
            assert result["to_name"] == image_tag.attrib["name"] == labels_tag.attrib["toName"]
            assert (result["original_width"], result["original_height"]) == (width, height)
            assert result["type"] == "rectanglelabels" and result["value"]["rotation"] == 0
            x, y, w, h = (result["value"][key] for key in ("x", "y", "width", "height"))
            boxes.append([x * width, y * height, (x + w) * width, (y + h) * height])
        given = np.array(boxes).reshape(-1, 4) / 100
        np.testing.assert_allclose(given, found.detections.boxes_xyxy, atol=1e-3)
        names = tuple(result["value"]["rectanglelabels"][0] for result in prediction["result"])
        assert names == found.detections.names
        assert [result["score"] for result in prediction["result"]] == pytest.approx(scores)
    ids = [result["id"] for task in tasks for result in task["predictions"][0]["result"]]
    assert len(set(ids)) == len(ids) == sum(count for *_, count in PICTURES.values())


def test_crops_are_the_pixels_of_the_boxes(photos: ImageFiles, tmp_path: Path) -> None:
    every = written(tmp_path / "out", photos, "crops", images=False)
    crops = [path for path in (tmp_path / "out" / "crops").rglob("*") if path.is_file()]
    assert len(crops) == sum(count for *_, count in PICTURES.values())
    for found in every:
        for number, (x1, y1, x2, y2) in enumerate(found.detections.boxes_xyxy.tolist()):
            label = int(found.detections.labels[number])
            folder = ("0_zebra _ co", "Straße")[label]
            crop = read_image(
                tmp_path / "out" / "crops" / folder / f"{found.picture.name}_{number}.jpg"
            )
            whole = found.picture.pixels[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))]
            assert crop.shape == whole.shape
            assert np.abs(crop.astype(int).mean() - whole.mean()) < 6


def test_every_class_has_a_folder_of_its_own() -> None:
    names = ("a/b", "a:b", "..", "", "Cat", "cat", "CON.", "ä ö")
    folders = folder_names(names)
    assert len({one.casefold() for one in folders}) == len(names)
    assert folders[4] == "Cat" and folders[7] == "ä ö"
    assert all(one and not set(one) & set('/\\:*?"<>|') and one[-1] not in ". " for one in folders)


def test_voc_tells_of_boxes_that_it_cannot_hold(photos: ImageFiles, tmp_path: Path) -> None:
    picture = photos.read(1)
    assert isinstance(picture, Picture)
    thin = torch.tensor([[3.0, 4.0, 3.9, 20.0], [3.0, 4.0, 5.0, 6.0]])
    found = Found(picture, Detections(thin, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]), NAMES))
    (tmp_path / "out").mkdir()
    words = ("voc", "coco")
    with open_labels(words, tmp_path / "out", CLASSES, "x", "m", False, False) as labels:
        labels.write(found)
    (remark,) = labels.remarks()
    assert remark.startswith("save=voc: 1 boxes of less than a pixel")
    root = ElementTree.parse(tmp_path / "out" / "voc" / "Annotations" / "b.xml")
    assert [box.text for box in root.findall("object/bndbox/*")] == ["4", "5", "5", "6"]


def files(*names: str) -> ImageFiles:
    return ImageFiles([Path(name) for name in names], list(names))


@pytest.mark.parametrize(
    ("words", "images", "source", "message"),
    [
        (["yolo5"], False, files("a.jpg"), "save=yolo5: give some of coco, yolo, voc"),
        (["images"], False, files("a.jpg"), "draw=true"),
        (["cvat"], True, files("a.jpg"), "save_images=true: needs save= with one of coco"),
        (["voc"], False, VideoFile(Path("a.mp4"), Fraction(25), None), "of a video save csv"),
        (["yolo"], False, files("A.jpg", "a.png"), "A.jpg and a.png would share"),
        (["coco", "voc"], False, files("s/b.x.jpg", "s/b.x.png"), "s/b.x.jpg and s/b.x.png would"),
        (["cvat"], False, files("a\x0b.jpg"), "is no text"),
        (["csv"], False, files("a\udcff.jpg"), "is no text"),
        (["crops"], False, files("Crops/a.jpg"), "draw=false"),
    ],
)
def test_what_cannot_be_written_is_said_before(
    words: list[str],
    images: bool,
    source: ImageFiles | VideoFile,
    message: str,
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        chosen_formats(words, images, source, draw=True)


def test_what_can_be_written() -> None:
    assert chosen_formats(["csv", "coco", "csv"], True, files("a.jpg", "a.png"), True) == (
        "csv",
        "coco",
    )
    assert set(chosen_formats(list(FORMATS), False, files("a.jpg", "s/a.jpg"), True)) == set(
        FORMATS
    )
    assert chosen_formats(["crops"], False, files("crops/a.jpg"), draw=False) == ("crops",)

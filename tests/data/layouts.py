"""Small data sets in the layouts that tools write: each function makes a folder of one layout.

The pictures and boxes are the same in all; what differs is where files lie and what is in them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

SIZE = (96, 64)
#: Boxes are drawn in whole pixels: x1, y1, x2, y2.
Boxes = list[tuple[str, tuple[int, int, int, int]]]


@dataclass(frozen=True)
class Made:
    """What a layout should be found to be.

    Attributes:
        format: of its files.
        title: part of what it is called.
        train: name of the set to learn from.
        val: name of the set for validation, None where a share is split off.
        test: name of the set to report, None where there is none.
        pictures: boxes by the stem of a picture, of ``train`` and ``val`` together.
        classes: in the order of their labels.
        first_category: the number that the first class has in the files.
    """

    format: str
    title: str
    train: str
    val: str | None
    test: str | None
    pictures: dict[str, Boxes]
    classes: tuple[str, ...] = ("cat", "dog")
    first_category: int = 1


def pictures(names: Sequence[str]) -> dict[str, Boxes]:
    """Return boxes of some pictures, the last of which has none."""
    chance = random.Random(" ".join(names))
    made: dict[str, Boxes] = {}
    for number, name in enumerate(names):
        boxes: Boxes = []
        for place in range(1 + number % 2):
            x, y = chance.randrange(2, 40), chance.randrange(2, 30)
            width, height = chance.randrange(12, 50), chance.randrange(12, 30)
            boxes.append((("cat", "dog")[(number + place) % 2], (x, y, x + width, y + height)))
        made[name] = boxes if number < len(names) - 1 or len(names) < 3 else []
    return made


TRAIN = pictures(["a", "b", "c d", "é"])
VAL = pictures(["v1", "v2"])
TEST = pictures(["t1", "t2"])


def draw(folder: Path, of: Mapping[str, Boxes], ending: str = ".jpg") -> None:
    """Write pictures on which the boxes are filled."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, boxes in of.items():
        image = Image.new("RGB", SIZE, (40, 80, 120))
        pen = ImageDraw.Draw(image)
        for kind, (x1, y1, x2, y2) in boxes:
            pen.rectangle(
                (x1, y1, x2 - 1, y2 - 1), fill=(220, 60, 30) if kind == "cat" else "white"
            )
        pen.point((sum(map(ord, name)) % 89, 0), fill=(len(name), ord(name[0]) % 256, 9))
        image.save(folder / f"{name}{ending}")


def coco(
    of: Mapping[str, Boxes], name: Callable[[str], str], first: int = 1, **more: Any
) -> dict[str, Any]:
    """Return what a JSON of COCO's format holds."""
    images, annotations = [], []
    for number, (stem, boxes) in enumerate(of.items(), start=1):
        images.append({"id": number, "file_name": name(stem), "width": SIZE[0], "height": SIZE[1]})
        for kind, (x1, y1, x2, y2) in boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": first + ("cat", "dog").index(kind),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "segmentation": [],
                    "iscrowd": 0,
                }
            )
    categories = [
        {"id": first + place, "name": kind, "supercategory": ""}
        for place, kind in enumerate(("cat", "dog"))
    ]
    return {
        "info": {"year": "2026", "version": "1"},
        "licenses": [],
        "categories": categories,
        "images": images,
        "annotations": annotations,
        **more,
    }


def write_json(file: Path, tree: object) -> None:
    """Write JSON; its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(tree), "utf-8")


def write(file: Path, *lines: str) -> None:
    """Write lines of text; their folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def voc_xml(folder: Path, of: Mapping[str, Boxes], ending: str = ".jpg") -> None:
    """Write an XML file of VOC's kind for each picture."""
    for name, boxes in of.items():
        objects = "".join(
            f"<object><name>{kind}</name><pose>Unspecified</pose><truncated>0</truncated>"
            f"<difficult>0</difficult><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for kind, (x1, y1, x2, y2) in boxes
        )
        write(
            folder / f"{name}.xml",
            f"<annotation><folder>x</folder><filename>{name}{ending}</filename>"
            f"<path>C:\\me\\{name}{ending}</path><source><database>Unknown</database></source>"
            f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height><depth>3</depth></size>"
            f"<segmented>0</segmented>{objects}</annotation>",
        )


def fractions(box: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
    """Return centre and size in parts of the picture."""
    x1, y1, x2, y2 = box
    width, height = SIZE
    return (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height


def yolo_line(kind: str, box: tuple[int, int, int, int], form: str = "box") -> str:
    """Return a line of a text file of the YOLO family."""
    number = ("cat", "dog").index(kind)
    x1, y1, x2, y2 = box[0] / SIZE[0], box[1] / SIZE[1], box[2] / SIZE[0], box[3] / SIZE[1]
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    values = {
        "box": fractions(box),
        "outline": (x1, y, x, y1, x2, y, x, y2, x1, y2),
        "oriented": (x, y1, x2, y, x, y2, x1, y),
    }[form]
    return " ".join([str(number), *(f"{value:.8f}" for value in values)])


def yolo_texts(folder: Path, of: Mapping[str, Boxes], form: str = "box") -> None:
    """Write a text file for each picture."""
    for name, boxes in of.items():
        write(folder / f"{name}.txt", *(yolo_line(kind, box, form) for kind, box in boxes))


def roboflow(of: Mapping[str, Boxes]) -> dict[str, Boxes]:
    """Return pictures under the names that Roboflow gives them."""
    return {
        f"{name.replace(' ', '-')}_jpg.rf.{random.Random(name).getrandbits(128):032x}": boxes
        for name, boxes in of.items()
    }


def csv_rows(of: Mapping[str, Boxes], order: str, name: Callable[[str], str]) -> list[str]:
    """Return rows of a table; ``order`` names the columns."""
    rows = []
    for stem, boxes in of.items():
        for kind, (x1, y1, x2, y2) in boxes:
            values: dict[str, object] = {"filename": name(stem), "class": kind}
            values |= {"width": SIZE[0], "height": SIZE[1], "xmin": x1, "ymin": y1}
            values |= {"xmax": x2, "ymax": y2}
            rows.append(",".join(str(values[key]) for key in order.split(",")))
    return rows


def boxed(of: Mapping[str, Boxes]) -> dict[str, Boxes]:
    """Return pictures with a box: of others a table of boxes says nothing."""
    return {name: boxes for name, boxes in of.items() if boxes}


BOTH = {**TRAIN, **VAL}
_SETS = (("train", TRAIN), ("valid", VAL), ("test", TEST))


def coco_official(root: Path) -> Made:
    """Write COCO's own layout, with files of other tasks and a test set without boxes."""
    for split, of in (("train2017", TRAIN), ("val2017", VAL), ("test2017", TEST)):
        draw(root / split, of)
        tree = coco(of, lambda stem: f"{stem}.jpg")
        if split == "test2017":
            del tree["annotations"]
            write_json(root / f"annotations/image_info_{split}.json", tree)
        else:
            write_json(root / f"annotations/instances_{split}.json", tree)
            write_json(root / f"annotations/captions_{split}.json", {**tree, "annotations": []})
    return Made("coco", "COCO's own", "train2017", "val2017", None, BOTH)


def coco_roboflow(root: Path) -> Made:
    """Write Roboflow's COCO, whose first category is the parent of all."""
    for split, of in _SETS:
        of = roboflow(of)
        draw(root / split, of)
        tree = coco(of, lambda stem: f"{stem}.jpg")
        for category in tree["categories"]:
            category["supercategory"] = "animals-x1"
        tree["categories"].insert(0, {"id": 0, "name": "animals-x1", "supercategory": "none"})
        write_json(root / split / "_annotations.coco.json", tree)
    write(root / "README.roboflow.txt", "animals - v1", "exported via roboflow.com")
    both = roboflow(BOTH)
    return Made("coco", "Roboflow", "train", "valid", "test", both)


def coco_cvat(root: Path) -> Made:
    """Write CVAT's COCO 1.0: all images in one set."""
    draw(root / "images", BOTH)
    write_json(root / "annotations/instances_default.json", coco(BOTH, lambda stem: f"{stem}.jpg"))
    return Made("coco", "CVAT", "default", None, None, BOTH)


def coco_label_studio(root: Path) -> Made:
    """Write Label Studio's COCO, on Windows: categories from 0, names by a backslash."""
    draw(root / "images", BOTH)
    tree = coco(BOTH, lambda stem: f"images\\{stem}.jpg", first=0)
    write_json(root / "result.json", tree)
    return Made("coco", "Label Studio", "result", None, None, BOTH, first_category=0)


def coco_fiftyone(root: Path) -> Made:
    """Write FiftyOne's COCODetectionDataset: data/ and labels.json."""
    draw(root / "data", BOTH)
    write_json(root / "labels.json", coco(BOTH, lambda stem: f"{stem}.jpg"))
    return Made("coco", "FiftyOne", "labels", None, None, BOTH)


def coco_foreign_paths(root: Path) -> Made:
    """Write a JSON of any name, whose images were elsewhere when it was made."""
    draw(root / "photos", BOTH)
    write_json(root / "my boxes.json", coco(BOTH, lambda stem: f"/home/me/upload/7/{stem}.jpg"))
    return Made("coco", "COCO's format", "my boxes", None, None, BOTH)


def coco_two_files(root: Path) -> Made:
    """Write two JSON files beside one folder of images."""
    draw(root / "images", BOTH)
    for split, of in (("train", TRAIN), ("val", VAL)):
        write_json(root / f"{split}.json", coco(of, lambda stem: f"{stem}.jpg"))
    return Made("coco", "COCO's format", "train", "val", None, BOTH)


def voc_official(root: Path) -> Made:
    """Write VOC's own layout, with lists of one class."""
    everything = {**BOTH, **TEST}
    draw(root / "JPEGImages", everything)
    voc_xml(root / "Annotations", everything)
    for split, of in (("train", TRAIN), ("val", VAL), ("trainval", BOTH), ("test", TEST)):
        lists = root / "ImageSets/Main"
        write(lists / f"{split}.txt", *of)
        write(lists / f"cat_{split}.txt", *(f"{name} {1 if of[name] else -1:2}" for name in of))
    return Made("voc", "VOC's own", "train", "val", "test", BOTH)


def voc_devkit(root: Path) -> Made:
    """Write VOC as its archive unpacks: one folder further down, and no validation set."""
    base = root / "VOCdevkit/VOC2007"
    draw(base / "JPEGImages", {**BOTH, **TEST})
    voc_xml(base / "Annotations", {**BOTH, **TEST})
    write(base / "ImageSets/Main/trainval.txt", *BOTH)
    write(base / "ImageSets/Main/test.txt", *TEST)
    return Made("voc", "VOC's own", "trainval", None, "test", BOTH)


def voc_without_lists(root: Path) -> Made:
    """Write VOC's folders without ImageSets."""
    draw(root / "JPEGImages", BOTH, ".png")
    voc_xml(root / "Annotations", BOTH, ".png")
    return Made("voc", "without lists", "Annotations", None, None, BOTH)


def voc_labelimg(root: Path) -> Made:
    """Write LabelImg's XML beside the images, with the classes that it was started with."""
    draw(root, BOTH)
    voc_xml(root, BOTH)
    write(root / "predefined_classes.txt", "cat", "dog")
    return Made("voc", "LabelImg", "all", None, None, BOTH)


def voc_roboflow(root: Path) -> Made:
    """Write Roboflow's VOC."""
    for split, of in _SETS:
        draw(root / split, roboflow(of))
        voc_xml(root / split, roboflow(of))
    write(root / "README.dataset.txt", "# animals > 1")
    return Made("voc", "Roboflow", "train", "valid", "test", roboflow(BOTH))


def voc_kaggle(root: Path) -> Made:
    """Write folders of images and XML within a folder for each split, in other letters."""
    for split, of in (("Train", TRAIN), ("Test", TEST)):
        draw(root / split / "Images", of)
        voc_xml(root / split / "Annotations", of)
    return Made("voc", "without lists", "Train", None, "Test", TRAIN)


def yolo_roboflow(root: Path) -> Made:
    """Write Roboflow's YOLOv8, whose paths are one ../ off."""
    for split, of in _SETS:
        draw(root / split / "images", roboflow(of))
        yolo_texts(root / split / "labels", roboflow(of))
    write(
        root / "data.yaml",
        *("train: ../train/images", "val: ../valid/images", "test: ../test/images", ""),
        *("nc: 2", "names: ['cat', 'dog']", "", "roboflow:", "  workspace: me", "  version: 1"),
    )
    write(root / "README.roboflow.txt", "animals - v1")
    return Made("yolo", "Roboflow", "train", "val", "test", roboflow(BOTH), first_category=0)


def yolo_ultralytics(root: Path) -> Made:
    """Write Ultralytics' trees, paths of another machine, names as a mapping."""
    for split, of in (("train", TRAIN), ("val", VAL)):
        draw(root / "images" / split, of)
        yolo_texts(root / "labels" / split, of)
    write(
        root / "animals.yaml",
        *("path: ../datasets/animals # dataset root dir", "train: images/train", "val: images/val"),
        *("test: # optional", "names:", "  0: cat", "  1: dog"),
    )
    return Made("yolo", "data.yaml", "train", "val", None, BOTH, first_category=0)


def yolo_without_yaml(root: Path) -> Made:
    """Write trees with a list of names alone; an image without objects has no text file."""
    for split, of in (("train", TRAIN), ("val", VAL)):
        draw(root / split / "images", of)
        yolo_texts(root / split / "labels", boxed(of))
    write(root / "classes.txt", "cat", "dog")
    return Made("yolo", "YOLO text", "train", "val", None, BOTH, first_category=0)


def yolo_labelimg(root: Path) -> Made:
    """Write LabelImg's text files beside the images."""
    draw(root, BOTH)
    yolo_texts(root, BOTH)
    write(root / "classes.txt", "cat", "dog")
    return Made("yolo", "YOLO text", "all", None, None, BOTH, first_category=0)


def yolo_label_studio(root: Path) -> Made:
    """Write Label Studio's YOLO."""
    draw(root / "images", BOTH)
    yolo_texts(root / "labels", BOTH)
    write(root / "classes.txt", "cat", "dog")
    notes = [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    write_json(root / "notes.json", {"categories": notes, "info": {"year": 2026}})
    return Made("yolo", "Label Studio", "all", None, None, BOTH, first_category=0)


def yolo_cvat(root: Path) -> Made:
    """Write CVAT's YOLO 1.1: lists and text files beside the images."""
    for split, of in (("train", TRAIN), ("valid", VAL)):
        draw(root / f"obj_{split}_data", of)
        yolo_texts(root / f"obj_{split}_data", of)
        write(root / f"{split}.txt", *(f"data/obj_{split}_data/{name}.jpg" for name in of))
    write(root / "obj.names", "cat", "dog")
    write(root / "obj.data", "classes = 2", "train = data/train.txt", "names = data/obj.names")
    return Made("yolo", "CVAT", "obj_train_data", "obj_valid_data", None, BOTH, first_category=0)


def yolo_cvat_ultralytics(root: Path) -> Made:
    """Write CVAT's Ultralytics YOLO: lists of images in the data.yaml."""
    for split, of in (("train", TRAIN), ("val", VAL)):
        draw(root / "images" / split, of)
        yolo_texts(root / "labels" / split, of)
        write(root / f"{split}.txt", *(f"data/images/{split}/{name}.jpg" for name in of))
    write(
        root / "data.yaml",
        *("names:", "  0: cat", "  1: dog", "path: .", "train: train.txt", "val: val.txt"),
    )
    return Made("yolo", "data.yaml", "train", "val", None, BOTH, first_category=0)


def yolo_outlines(root: Path) -> Made:
    """Write outlines, as for segmentation."""
    made = yolo_roboflow(root)
    for split, of in _SETS:
        yolo_texts(root / split / "labels", roboflow(of), "outline")
    return made


def yolo_oriented(root: Path) -> Made:
    """Write oriented boxes, by their corners."""
    made = yolo_ultralytics(root)
    for split, of in (("train", TRAIN), ("val", VAL)):
        yolo_texts(root / "labels" / split, of, "oriented")
    return made


def yolo_darknet(root: Path) -> Made:
    """Write Roboflow's YOLO Darknet: names in a file of each set."""
    for split, of in _SETS:
        draw(root / split, roboflow(of))
        yolo_texts(root / split, roboflow(of))
        write(root / split / "_darknet.labels", "cat", "dog")
    return Made("yolo", "Darknet", "train", "valid", "test", roboflow(BOTH), first_category=0)


def csv_roboflow(root: Path) -> Made:
    """Write Roboflow's TensorFlow CSV."""
    order = "filename,width,height,class,xmin,ymin,xmax,ymax"
    for split, of in _SETS:
        of = roboflow(of)
        draw(root / split, of)
        rows = csv_rows(of, order, lambda stem: f"{stem}.jpg")
        write(root / split / "_annotations.csv", order, *rows)
    return Made("csv", "Roboflow", "train", "valid", "test", boxed(roboflow(BOTH)))


def csv_plain(root: Path) -> Made:
    """Write one table and one folder of images."""
    order = "filename,xmin,ymin,xmax,ymax,class"
    draw(root / "images", BOTH)
    write(root / "labels.csv", order, *csv_rows(BOTH, order, lambda stem: f"{stem}.jpg"))
    return Made("csv", "table", "all", None, None, boxed(BOTH))


def csv_semicolons(root: Path) -> Made:
    """Write tables for each split as a spreadsheet of a German does, images by their paths."""
    order = "filename,xmin,ymin,xmax,ymax,class"
    draw(root / "images", BOTH)
    for split, of in (("train", TRAIN), ("test", VAL)):
        rows = csv_rows(of, order, lambda stem: f"images/{stem}.jpg")
        text = "\r\n".join([order, *rows, ""]).replace(",", ";")
        (root / f"{split}_labels.csv").write_bytes(text.encode("utf-8-sig"))
    return Made("csv", "table", "train_labels", None, "test_labels", boxed(TRAIN))


def csv_keras(root: Path) -> Made:
    """Write keras-retinanet's tables, without a row of names."""
    order = "filename,xmin,ymin,xmax,ymax,class"
    draw(root / "images", BOTH)
    rows = csv_rows(BOTH, order, lambda stem: f"images/{stem}.jpg")
    empty = [f"images/{stem}.jpg,,,,," for stem, boxes in BOTH.items() if not boxes]
    write(root / "annotations.csv", *rows, *empty)
    write(root / "classes.csv", "cat,0", "dog,1")
    return Made("csv", "table", "all", None, None, BOTH)


LAYOUTS: dict[str, Callable[[Path], Made]] = {
    one.__name__: one
    for one in (
        *(coco_official, coco_roboflow, coco_cvat, coco_label_studio, coco_fiftyone),
        *(coco_foreign_paths, coco_two_files),
        *(voc_official, voc_devkit, voc_without_lists, voc_labelimg, voc_roboflow, voc_kaggle),
        *(yolo_roboflow, yolo_ultralytics, yolo_without_yaml, yolo_labelimg, yolo_label_studio),
        *(yolo_cvat, yolo_cvat_ultralytics, yolo_outlines, yolo_oriented, yolo_darknet),
        *(csv_roboflow, csv_plain, csv_semicolons, csv_keras),
    )
}

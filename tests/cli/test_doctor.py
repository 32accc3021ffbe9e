"""fcos-doctor as a user calls it: status, files, what it prints, and what it leaves alone."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.cli.running import Command
from tests.cli.test_layouts import FAST, TWO_STEPS
from tests.data import layouts
from tests.doctor.data_sets import SMALL, clean, picture
from tests.object_storage import object_storage, upload

from fcos_lightning import build_fcos
from fcos_lightning.checkpoints import describe
from fcos_lightning.doctor.examine import CHECKS

WORDS = ("data.shorter_side=64", "data.longer_side=96")


def state(folder: Path) -> dict[str, tuple[str, int]]:
    """What lies below a folder: contents, and when they last changed."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.stat().st_mtime_ns,
        )
        for path in sorted((folder, *folder.rglob("*")))
    }


def write(root: Path) -> None:
    scene = clean(root)
    for part in (scene.train, scene.val):
        part.write(root)


@pytest.mark.parametrize(
    "layout",
    [one if one in FAST else pytest.param(one, marks=pytest.mark.slow) for one in layouts.LAYOUTS],
)
def test_each_layout_is_looked_at_and_left_as_it_is(layout: str, command: Command) -> None:
    made = layouts.LAYOUTS[layout](Path("data set"))
    before = state(Path("data set"))
    result = command("doctor", "data.root=data set", *WORDS, "run_dir=d")
    assert result.code == 0, result.err + result.out
    assert state(Path("data set")) == before
    assert sorted(os.listdir("d")) == ["doctor.html", "doctor.json"]
    numbers = json.loads(Path("d/doctor.json").read_text("utf-8"))
    assert made.title in numbers["layout"] and numbers["status"] == 0
    sets = {one["role"]: one["name"] for one in numbers["sets"]}
    assert sets["train"] == made.train and sets.get("val") == made.val
    assert f"doctor: {numbers['said']}; doctor.json and doctor.html in" in result.out


def test_the_three_statuses(command: Command) -> None:
    write(Path("d"))
    words = ("data.root=d", *WORDS, "page=false")
    fine = command("doctor", *words, "run_dir=fine")
    assert fine.code == 0 and os.listdir("fine") == ["doctor.json"]
    # A warning is none by itself, and is one for strict=true.
    picture(900).save("d/train/extra.png")
    assert command("doctor", *words, "run_dir=warned").code == 0
    strict = command("doctor", *words, "run_dir=strict", "strict=true")
    assert strict.code == 1 and "image.unused" in strict.out and strict.err == ""
    Path("d/train/t0.png").write_bytes(b"")
    error = command("doctor", *words, "run_dir=error")
    assert error.code == 1 and "error    image.empty" in error.out and error.err == ""
    assert json.loads(Path("error/doctor.json").read_text())["status"] == 1
    Path("d/annotations/instances_train.json").write_text("{")
    unreadable = command("doctor", *words, "run_dir=none")
    assert unreadable.code == 2 and unreadable.err.count("\n") == 1
    assert not Path("none").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "data.root is missing"),
        (("data.root=nowhere",), "does not exist"),
        (("data.root=empty",), "no data set was found, as the folder is empty"),
        (("data.root=d", "run_dir=d"), "is not empty"),
        (("data.root=d", "strict=perhaps"), "strict=perhaps: give true or false"),
        (("data.root=d", "page=1.5"), "page=1.5: give true or false"),
        (("data.root=d", "ckpt=gone.ckpt"), "gone.ckpt"),
        (("data.root=d", "method=fcoss"), "method=fcoss: there is no such choice"),
        (("data.root=d", "data.shorter_side=0"), "give at least 1"),
        (("data.root=d", "data.train_split=all"), "has no set of images called all"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    command: Command, words: tuple[str, ...], said: str
) -> None:
    write(Path("d"))
    Path("empty").mkdir()
    before = state(Path("d"))
    result = command("doctor", *words)
    assert result.code == 2 and said in result.err and result.err.count("\n") == 1
    assert state(Path("d")) == before and sorted(os.listdir()) == ["d", "empty"]


def test_codes_are_stable_and_documented() -> None:
    codes = [check.code for check in CHECKS]
    assert len(set(codes)) == len(codes)
    page = (Path(__file__).parents[2] / "docs/doctor.md").read_text("utf-8")
    told = re.findall(r"^\| `([a-z_]+\.[a-z_0-9]+)` \| (error|warning|note) \|", page, re.MULTILINE)
    assert sorted(told) == sorted((check.code, check.severity) for check in CHECKS)


def test_findings_have_code_severity_file_and_place(command: Command) -> None:
    layouts.yolo_without_yaml(Path("d"))
    with Path("d/train/labels/a.txt").open("a") as file:
        file.write("0 2.5 0.5 0.1 0.1\n")
    assert command("doctor", "data.root=d", *WORDS, "run_dir=out").code == 0
    numbers = json.loads(Path("out/doctor.json").read_text())
    (found,) = [one for one in numbers["findings"] if one["code"] == "box.outside"]
    assert found["severity"] == "warning" and found["split"] == "train"
    assert (found["file"], found["place"]) == ("train/labels/a.txt", "line 2")
    kinds = {kind["code"]: kind["count"] for kind in numbers["kinds"]}
    assert kinds["box.outside"] == 1
    assert {one["code"] for one in numbers["findings"]} == set(kinds)


def test_names_are_text_whatever_they_hold(command: Command) -> None:
    root = Path("d")
    names = ("<script>alert(1)</script>", "\x1b[31mred", "${oc.env:HOME}")
    (root / "images").mkdir(parents=True)
    files = ("<img src=x onerror=alert(1)>.png", "\x1b]0;title\x07.png", "[bold]a[-b].png")
    rows = ["filename,xmin,ymin,xmax,ymax,class"]
    for number, (file, name) in enumerate(zip(files, names, strict=True)):
        # Of another format than they say, so that each is told.
        picture(number).save(root / "images" / file, format="JPEG")
        rows.append(f"images/{file},5,5,5,40,{name}")
        rows.append(f"images/{file},5,5,30,40,{name}")
        rows.append(f"images/{file},5,5,30,40,{name}")
    (root / "labels.csv").write_text("\n".join(rows))
    Image.new("RGB", (9, 9)).save(root / "images/<b>unused\x1b[2J.png", format="PNG")
    result = command("doctor", "data.root=d", *WORDS, "run_dir=out")
    assert result.code == 0, result.err
    assert "\x1b" not in result.out and "\x07" not in result.out
    assert os.environ.get("HOME", "/root") not in result.out.replace(str(Path.cwd()), "")
    numbers = json.loads(Path("out/doctor.json").read_text("utf-8"))
    told = {one["file"] for one in numbers["findings"] if one["code"] == "image.ending"}
    assert told == {f"images/{file}" for file in files}
    assert [one["name"] for one in numbers["classes"]] == sorted(names)
    page = Path("out/doctor.html").read_text("utf-8")
    assert "\x1b" not in page and "<img src=x" not in page and "<b>" not in page
    assert len(re.findall(r"<script[ >]", page)) == 2  # its data, and its own
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for start in re.findall(r'(?:href|src)="(?!#)([^"]{0,5})', page):
        assert start.startswith("data:")


def test_data_modules_of_other_kinds(command: Command) -> None:
    words = ("data=shapes", "data.train_images=6", "data.val_images=2", "data.image_px=64")
    result = command("doctor", *words, "data.shorter_side=64", "run_dir=out")
    assert result.code == 0, result.err
    assert "train: instances_train, 6 images" in result.out


def a_checkpoint(file: Path, *names: str) -> None:
    torch.manual_seed(0)
    detector = build_fcos(
        class_names=names,
        category_ids=tuple(range(1, len(names) + 1)),
        backbone={"name": "tiny", "weights": None, "frozen_stages": 0, "norm": "trained"},
        fpn={"channels": 16, "levels": [3, 4, 5]},
        head={"num_convs": 1},
    )
    weights = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    about = describe(detector, shorter_side=64, longer_side=96)
    torch.save({"state_dict": weights, "fcos": about}, file)


def test_a_checkpoint_that_is_never_right_doubts_nothing(command: Command) -> None:
    write(Path("d"))
    a_checkpoint(Path("c.ckpt"), "cat", "dog")
    result = command("doctor", "data.root=d", "ckpt=c.ckpt", "device=cpu", "run_dir=out")
    assert result.code == 0, result.err
    numbers = json.loads(Path("out/doctor.json").read_text())
    assert [one["sure"] for one in numbers["labels"]] == [None, None]
    assert {kind["code"] for kind in numbers["kinds"]} <= {*SMALL, "box.no_point"}
    other = command("doctor", "data.root=d", "ckpt=c.ckpt", "model.head.num_convs=2")
    assert other.code == 2 and "the detector comes from the checkpoint" in other.err


def test_a_run_says_what_was_found_for_nothing(command: Command) -> None:
    write(Path("d"))
    words = (*TWO_STEPS, "data.root=d", "report=false")
    fine = command("train", *words, "run_dir=fine")
    assert fine.code == 0, fine.err
    assert "doctor " not in fine.out
    file = Path("d/annotations/instances_train.json")
    tree = json.loads(file.read_text())
    more = [[20, 50, 1, 9], [24, 50, 1, 9], [70, 40, 60, 20]]
    tree["annotations"] += [
        {"id": 90 + i, "image_id": 1, "category_id": 1, "bbox": box} for i, box in enumerate(more)
    ]
    file.write_text(json.dumps(tree))
    odd = command("train", *words, "run_dir=odd")
    (line,) = [line for line in odd.out.splitlines() if line.startswith("doctor ")]
    assert "2 findings: box.one_pixel 2, box.sticks_out 1" in line


def test_it_is_interrupted_like_the_others(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    write(Path("d"))
    monkeypatch.setattr("fcos_lightning.runs.examining.assign", interrupt)
    result = command("doctor", "data.root=d", *WORDS)
    assert result.code == 130 and "Traceback" not in result.err
    assert os.listdir() == ["d"]


def test_shards_are_looked_at_as_the_folder_is(command: Command) -> None:
    write(Path("d"))
    picture(2).save("d/val/v0.png")  # a copy of one of the training set
    picture(3).save("d/train/t1.png", format="JPEG")
    assert command("pack", "data.root=d", "out=packed").code == 0
    before = state(Path("packed"))
    told = {}
    for root in ("d", "packed"):
        result = command("doctor", f"data.root={root}", *WORDS, f"run_dir=of_{root}")
        assert result.code == 1, result.err
        numbers = json.loads(Path(f"of_{root}/doctor.json").read_text("utf-8"))
        told[root] = {(kind["code"], kind["count"]) for kind in numbers["kinds"]}
    assert ("split.shared", 1) in told["d"] and ("image.ending", 1) in told["d"]
    assert told["d"] == told["packed"]
    assert state(Path("packed")) == before


def test_a_folder_at_an_address_is_looked_at_as_the_one_here(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    layouts.yolo_without_yaml(Path("d"))
    pictures = sorted(Path("d").rglob("*.jpg"))
    pictures[0].write_bytes(b"no picture")
    pictures[1].write_bytes(pictures[2].read_bytes())
    label = next(iter(sorted(Path("d").rglob("a.txt"))))
    label.write_text(label.read_text() + "word 1 2\n0 0.5 0.5 0 0\n")
    label.with_name("alone.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    told = {}
    with object_storage():
        upload(Path("d"), "s3://bucket/d")
        for root, run in (("d", "here"), ("s3://bucket/d", "there")):
            result = command("doctor", f"data.root={root}", *WORDS, f"run_dir={run}")
            assert result.code == 1, result.err
            told[run] = json.loads(Path(f"{run}/doctor.json").read_text("utf-8"))
    size = sum(one.stat().st_size for one in pictures)
    assert f"reading {size / 1000:.1f} kB of images from s3://bucket/d\n" in result.out
    page = Path("there/doctor.html").read_text("utf-8")
    assert str(tmp_path / "cache") not in json.dumps(told) + page + result.out + result.err
    assert (told["here"].pop("root"), told["there"].pop("root")) == ("d", "s3://bucket/d")
    plain = json.dumps(told["there"]).replace("s3://bucket/d/", "d/")
    assert json.loads(plain) == json.loads(json.dumps(told["here"]).replace(f"{tmp_path}/d/", "d/"))
    codes = {kind["code"] for kind in told["here"]["kinds"]}
    assert {"image.unreadable", "image.duplicate", "annotation.unreadable"} < codes
    assert "annotation.no_file" in codes


def test_what_cannot_be_asked_for_is_a_status_of_its_own(command: Command) -> None:
    with object_storage():
        result = command("doctor", "data.root=s3://bucket/none", *WORDS, "run_dir=none")
    assert result.code == 2 and "there is no shards.json, nor anything else" in result.err
    assert not Path("none").exists()

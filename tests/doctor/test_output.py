"""What is printed of findings: files are named below the folder of the data set, wherever it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.doctor.data_sets import clean, looked_at, picture

from fcos_lightning.doctor.check import Examined
from fcos_lightning.doctor.examine import found
from fcos_lightning.doctor.findings import Finding
from fcos_lightning.doctor.output import first_of


@pytest.mark.parametrize("relative", [False, True])
def test_files_are_named_below_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    scene = clean(tmp_path)
    smaller = picture(2).resize((48, 32))
    scene.add(scene.train, "again.png", smaller, [5, 5, 20, 20])
    scene.add(scene.train, "copy.png", picture(3), [5, 5, 20, 20])
    scene.add(scene.val, "other.png", picture(1), [5, 5, 20, 20])
    cut = scene.add(scene.train, "cut.png", picture(7, (300, 200)), [9, 9, 50, 50])
    cut.write_bytes(cut.read_bytes()[:-2000])
    for one in (scene.train, scene.val):
        one.write(tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    data = looked_at(Path(os.path.relpath(tmp_path)) if relative else tmp_path)
    said = {kind.code: first_of(kind.kept, data) for kind in found(data)}
    assert said["image.near_duplicate"] == "train/again.png: looks like train/t2.png"
    assert said["image.duplicate"] == "train/copy.png: is the same file as train/t3.png"
    assert said["split.shared"] == "val/other.png: train has it as train/t1.png"
    assert said["image.unreadable"].startswith("train/cut.png: it cannot be read: ")


@pytest.mark.parametrize(
    ("place", "message", "said"),
    [
        ("line 3", "FILE, line 3: expected a class", "d/a.txt, line 3: expected a class"),
        ("line 3", "FILE, line 33: expected a class", "d/a.txt, line 3: line 33: expected a class"),
        ("object 2", "FILE: object 2 (cat) has no name", "d/a.txt, object 2: (cat) has no name"),
        ("object 2", "FILE: class 'x' is none", "d/a.txt, object 2: class 'x' is none"),
        ("", "FILE: is empty, not as FILE", "d/a.txt: is empty, not as it"),
        ("", "annotation file FILE is gone", "d/a.txt: annotation file it is gone"),
    ],
)
def test_a_place_is_said_once(tmp_path: Path, place: str, message: str, said: str) -> None:
    file = tmp_path / "d/a.txt"
    data = Examined([], tmp_path)
    one = Finding(message.replace("FILE", str(file)), "train", str(file), place)
    assert first_of([one], data) == said

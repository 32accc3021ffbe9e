"""However long what somebody gives is, what is said of it is one line that people read to its end.

Every entry is walked with texts of thousands of characters, with and without spaces in them.
"""

from __future__ import annotations

import json
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.cli.running import SMALL, Command, Result
from tests.cli.test_text_of_data import leaves
from tests.cli.test_text_of_data import whole as whole

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.errors import CHOICES_CHARACTERS, MESSAGE_CHARACTERS, UserError

WORD = "x" * 5000
SPACED = "many words " * 500
ESCAPED = "\x1b[31m" * 900
TEXTS = (WORD, SPACED, ESCAPED, "a/" * 2500, "[" * 3000, "9" * 5000, "é, " * 2000)
NET = tuple(word for word in SMALL if word.startswith(("model.", "callbacks.")))
#: Messages that end with what there is to choose from.
LEADS_TO_CHOICES = ("there are ", "looked for ", "one of ", "takes of trainer ", "recipes are ")


def check(said: str) -> None:
    assert said.isprintable(), said
    chosen = any(lead in said for lead in LEADS_TO_CHOICES)
    assert len(said) <= (CHOICES_CHARACTERS if chosen else MESSAGE_CHARACTERS), said


def line_of(result: Result) -> str:
    assert result.code == 2 and "Traceback" not in result.err, result.err[-2000:]
    (line,) = [one for one in result.err.splitlines() if one.strip() and "Warning" not in one]
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


#: One word of each kind of setting: a group, a path, a name, a number, a list, a choice, a part.
TRAIN = (
    *("name=", "run_dir=", "init_from=", "resume=", "data.root=", "data=", "model=", "schedule="),
    *("data.train_split=", "data.class_names=", "data.batch_size=", "data.on_bad_image="),
    *("model.backbone.name=", "model.backbone.weights=", "model.fpn.channels=", "+model.head.x="),
    *("schedule.lr=", "trainer.devices=", "trainer.precision=", "+trainer.profiler=", "trainer.x="),
    *("callbacks.best.monitor=", "logger=", "trusted_packages=", "+", "~", "++x.y=", "augment="),
    *("seed=", "experiment=", "method=", "+callbacks.mine._target_=", "model.backbone._target_="),
)
OTHERS = {
    "test": ("ckpt=", "ckpt=none.ckpt data=", "ckpt=none.ckpt trainer.x=", "recipe=", "run_dir="),
    "predict": ("ckpt=", "ckpt=none.ckpt source=", "ckpt=none.ckpt device=", "recipe=", "out="),
    "convert": ("ckpt=", "ckpt=none.ckpt out=", "ckpt=none.ckpt recipe=", "to="),
    "doctor": ("data.root=", "data=", "out=", "x="),
    "explain": ("ckpt=", "data.root=", "split=", "image="),
    "compare": ("runs=", "out=", "x="),
    "report": ("run=", "ckpt=", "x="),
    "pack": ("data.root=", "out=", "x="),
    "serve": ("ckpt=", "host=", "token_file=", "recipe=", "x="),
}


def test_words_of_a_training(command: Command) -> None:
    # Each key has another text than those beside it; every second is one string, which Hydra does
    # not take apart.
    for key, text, quote in zip(TRAIN, cycle(TEXTS), cycle(("", "'")), strict=False):
        # If nothing else is wrong, there are no data.
        words = ("experiment=quickstart", *NET, "data=coco", "data.root=nowhere", "run_dir=r")
        words = (*words, f"{key}{quote}{text}{quote}")
        check(line_of(command("train", *words)))


@pytest.mark.parametrize("name", OTHERS)
def test_words_of_every_other_command(command: Command, name: str) -> None:
    for words, text in zip(OTHERS[name], cycle(TEXTS), strict=False):
        *first, last = words.split(" ")
        check(line_of(command(name, *first, f"{last}'{text}'")))


@pytest.mark.parametrize("text", TEXTS[:3], ids=range(3))
def test_every_text_of_a_checkpoints_description(
    whole: dict[str, Any], tmp_path: Path, text: str
) -> None:
    refused = 0
    for place in leaves(whole["fcos"]):
        content = {**whole, "fcos": json.loads(json.dumps(whole["fcos"]))}
        tree: Any = content["fcos"]
        for part in place[:-1]:
            tree = tree[part]
        tree[place[-1]] = text
        if isinstance(tree, dict):  # a key as well
            tree[text] = tree.pop(place[-1]) if len(place) % 2 else 1
        torch.save(content, tmp_path / "odd.ckpt")
        try:
            Checkpoint.read(tmp_path / "odd.ckpt")
        except UserError as error:
            check(str(error))
            refused += 1
    assert refused > 40


@pytest.mark.parametrize("text", [WORD, SPACED, "é, " * 2000], ids=range(3))
def test_texts_of_annotations(command: Command, tmp_path: Path, text: str) -> None:
    said = 0
    for place, usual in (("name", "thing"), ("xmin", "5")):
        root = tmp_path / place
        for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
            (root / folder).mkdir(parents=True)
        xml = (
            "<annotation><size><width>64</width><height>64</height></size><object><name>thing"
            "</name><difficult>0</difficult><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>30</xmax>"
            "<ymax>30</ymax></bndbox></object></annotation>"
        )
        for split in ("train", "val"):
            (root / f"ImageSets/Main/{split}.txt").write_text(f"{split}\n")
            Image.new("RGB", (64, 64), "gray").save(root / f"JPEGImages/{split}.jpg")
            (root / f"Annotations/{split}.xml").write_text(xml)
        odd = xml.replace(f"<{place}>{usual}<", f"<{place}>{text}<")
        assert odd != xml
        (root / "Annotations/val.xml").write_text(odd)
        words = (f"data.root={root}", "data=voc", "data.train_split=train", "data.val_split=val")
        result = command("train", "experiment=quickstart", *NET, *words, "data.class_names=[thing]")
        check(line_of(result))
        said += 1
    (root / "ImageSets/Main/val.txt").write_text(f"{text}\n")
    check(line_of(command("train", "experiment=quickstart", *NET, *words)))
    assert said == 2

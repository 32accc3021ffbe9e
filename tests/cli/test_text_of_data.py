"""Names, paths, ids and descriptions that look like a configuration are ordinary text.

Every place at which text of data, of a checkpoint or of a folder comes in is walked with an
interpolation in it: nothing is looked up, nothing is run, and it comes out as it went in.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from tests.cli.running import SMALL, Command, Result

from fcos_lightning.checkpoints import Checkpoint

SECRET = "hush-hush"
LOOKED_UP = "${oc.env:FCOS_TEST_SECRET}"
NAMES = (
    LOOKED_UP,
    "a${b}",
    "cost in ${",
    "???",
    "${oc.create:{_target_: os.system, _args_: [touch mark]}}",
    "${oc.create:{_target_: fcos_lightning.sweeps.jobs.run_command, "
    "command: [touch, mark], log: /dev/null}}",
    "plain",
)
NET = tuple(word for word in SMALL if word.startswith(("model.", "callbacks.")))
SHORT = (
    "experiment=quickstart",
    "data.shorter_side=64",
    "data.longer_side=64",
    "data.batch_size=2",
    "data.num_workers=0",
    "trainer.accelerator=cpu",
    "trainer.max_steps=1",
    *NET,
)


@pytest.fixture(autouse=True)
def nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A program would leave ``mark`` in the current folder, see ``check``."""
    monkeypatch.setenv("FCOS_TEST_SECRET", SECRET)
    started: list[object] = []
    monkeypatch.setattr("os.system", lambda *args: started.append(args))
    yield
    assert not started


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> Path:
    """A current folder with such a name, in which the commands below are called."""
    folder = tmp_path / f"a{LOOKED_UP} ${{b}}"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def coco(root: Path) -> tuple[str, ...]:
    for split in ("train", "val"):
        (root / split).mkdir(parents=True)
        names = [f"{LOOKED_UP}{number}.jpg" for number in range(4)]
        for name in names:
            Image.new("RGB", (64, 64), "gray").save(root / split / name)
        content = {
            "images": [
                {"id": i, "file_name": name, "width": 64, "height": 64}
                for i, name in enumerate(names)
            ],
            "annotations": [
                {"id": i, "image_id": i % 4, "category_id": i, "bbox": [5, 5, 30, 30]}
                for i in range(len(NAMES))
            ],
            "categories": [{"id": i, "name": name} for i, name in enumerate(NAMES)],
        }
        (root / f"{split}.json").write_text(json.dumps(content))
    return (
        "data=coco",
        "data.annotations=SPLIT.json",
        "data.train_split=train",
        "data.val_split=val",
    )


def voc(root: Path) -> tuple[str, ...]:
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>30</xmax>"
        "<ymax>30</ymax></bndbox></object>"
        for name in NAMES
    )
    for split in ("train", "val"):
        (root / f"ImageSets/Main/{split}.txt").write_text(f"{split}{LOOKED_UP}\n")
        Image.new("RGB", (64, 64), "gray").save(root / f"JPEGImages/{split}{LOOKED_UP}.jpg")
        (root / f"Annotations/{split}{LOOKED_UP}.xml").write_text(
            f"<annotation><size><width>64</width><height>64</height></size>{objects}</annotation>"
        )
    return "data=voc", "data.train_split=train", "data.val_split=val"


def check(result: Result, folder: Path) -> None:
    """It went well, and the secret stands nowhere."""
    assert result.code == 0, result.err
    assert SECRET not in result.out + result.err
    for file in folder.rglob("*"):
        assert SECRET not in file.name and file.name != "mark"
        if file.suffix in (".yaml", ".json", ".csv", ".txt", ".md", ".log"):
            assert SECRET not in file.read_text(), file
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("kind", [coco, voc])
def test_from_data_through_every_command(command: Command, odd: Path, kind: Any) -> None:
    words = kind(odd / "set")
    trained = command("train", *SHORT, *words, "data.root=set")
    check(trained, odd)
    (run,) = odd.glob("runs/*/*")
    names = sorted(NAMES) if kind is voc else list(NAMES)
    assert all(name in trained.out.replace("\n", "") for name in (NAMES[0], NAMES[1], NAMES[3]))
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["run_dir"] == str(run)
    assert config["callbacks"]["best"]["dirpath"] == f"{run}/checkpoints"
    assert kind is coco or config["data"]["class_names"] == names
    best = run / "checkpoints/best.ckpt"
    assert list(Checkpoint.read(best).spec["class_names"]) == names
    figures = json.loads((run / "metrics.json").read_text())
    assert set(figures["per_class"]) == set(NAMES)

    check(command("train", f"resume={run.relative_to(odd)}"), odd)
    relative = best.relative_to(odd)
    tested = command("test", f"ckpt={relative}", "run_dir=tested")
    check(tested, odd)
    assert json.loads((odd / "tested/metrics.json").read_text()) == figures

    check(command("convert", f"ckpt={relative}", "out=plain.safetensors"), odd)
    again = command("test", "ckpt=plain.safetensors", "run_dir=again")
    check(again, odd)
    assert json.loads((odd / "again/metrics.json").read_text()) == figures
    images = "set/val" if kind is coco else "set/JPEGImages"
    found = command(
        "predict",
        "ckpt=plain.safetensors",
        f"source={images}",
        "out=found",
        "device=cpu",
        "score_threshold=0",
    )
    check(found, odd)
    rows = json.loads((odd / "found/predictions.json").read_text())
    assert {row["category_name"] for row in rows} <= set(NAMES)
    assert any(LOOKED_UP in row["file_name"] for row in rows) or not rows


def leaves(tree: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, (*place, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree[:1]):
            yield from leaves(value, (*place, index))
    else:
        yield place


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_every_text_of_a_checkpoints_description(
    command: Command, tmp_path: Path, suffix: str
) -> None:
    """Each value in turn; the data that it names cannot be had, which is said in one line."""
    words = coco(tmp_path / "set")
    assert command("train", *SHORT, *words, "data.root=set", "run_dir=run").code == 0
    whole = torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)
    whole["fcos"]["data"]["class_names"] = ["a", "b"]  # as of VOC, which COCO has not
    places = list(leaves(whole["fcos"]))
    assert len(places) > 60
    for number, place in enumerate(places):
        content = {**whole, "fcos": json.loads(json.dumps(whole["fcos"]))}
        tree: Any = content["fcos"]
        for part in place[:-1]:
            tree = tree[part]
        tree[place[-1]] = NAMES[4]
        file = tmp_path / f"odd{number}{suffix}"
        if suffix == ".ckpt":
            torch.save(content, file)
        else:
            weights = {k.removeprefix("detector."): v for k, v in whole["state_dict"].items()}
            save_file(weights, file, {"fcos": json.dumps(content["fcos"])})
        # With --resolve all settings are looked up; without, what they describe is made as well.
        for more in ((), ("--cfg", "job", "--resolve")):
            if more and place[0] != "data":
                continue
            result = command("test", f"ckpt={file.name}", f"run_dir=tested{number}", *more)
            assert result.code in (0, 2) and "Traceback" not in result.err, (place, result.err)
            if more and result.code == 0:
                assert yaml.safe_load(result.out)["data"][place[1]] in (NAMES[4], [NAMES[4], "b"])
            check(Result(0, result.out, result.err), tmp_path)


def test_a_folder_of_such_a_name_is_given_by_quoting(command: Command, odd: Path) -> None:
    """What the user writes is Hydra's to look up, unless it is escaped, as Hydra has it."""
    words = coco(odd / "set${b}")
    trained = command("train", *SHORT, *words, r"data.root='set\${b}'", r"run_dir='run\${b}'")
    check(trained, odd)
    config = yaml.safe_load((odd / "run${b}/config.yaml").read_text())
    assert config["data"]["root"] == "set${b}"
    tested = command(
        "test", r"ckpt=run\${b}/checkpoints/best.ckpt", "data=coco", r"data.root='set\${b}'"
    )
    assert tested.code == 2 and "no such file" in tested.err

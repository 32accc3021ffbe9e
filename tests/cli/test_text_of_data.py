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
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import save_file
from tests.cli.running import SMALL, Command, Result

from fcos_lightning import build_fcos
from fcos_lightning.checkpoints import Checkpoint, describe
from fcos_lightning.errors import UserError
from fcos_lightning.runs.config.composed import composed
from fcos_lightning.runs.config.description import offer_data_of

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

    plain = f"{kind.__name__}.safetensors"
    check(command("convert", f"ckpt={relative}", f"out={plain}"), odd)
    again = command("test", f"ckpt={plain}", "run_dir=again")
    check(again, odd)
    assert json.loads((odd / "again/metrics.json").read_text()) == figures
    images = "set/val" if kind is coco else "set/JPEGImages"
    found = command(
        "predict",
        f"ckpt={plain}",
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A checkpoint of ours, with settings of the data as of all kinds of data."""
    detector = build_fcos(
        class_names=["a", "b"],
        category_ids=[1, 2],
        backbone={"name": "tiny", "widths": [4, 8, 8, 8], "frozen_stages": 0, "norm": "trained"},
        fpn={"channels": 8, "levels": [3, 4, 5]},
        head={"num_convs": 1, "norm": "none"},
    )
    data = {
        "root": "set",
        "annotations": "SPLIT.json",
        "images": "SPLIT",
        "class_names": ["a", "b"],
        "train_split": "train",
        "val_split": "val",
        "on_bad_image": "error",
        "num_workers": 0,
    }
    run = {"version": "0.1.0", "name": "x", "data_choice": "coco", "data": data}
    sides = {"shorter_side": 64, "longer_side": 64, "channels_last": False}
    return {
        "state_dict": {f"detector.{key}": value for key, value in detector.state_dict().items()},
        "fcos": json.loads(json.dumps(describe(detector, **run, **sides))),
    }


def write(whole: dict[str, Any], place: tuple[Any, ...], file: Path) -> None:
    """Write the checkpoint with such a text at a place of its description."""
    content = {**whole, "fcos": json.loads(json.dumps(whole["fcos"]))}
    tree: Any = content["fcos"]
    for part in place[:-1]:
        tree = tree[part]
    tree[place[-1]] = NAMES[4]
    if file.suffix == ".ckpt":
        torch.save(content, file)
    else:
        weights = {k.removeprefix("detector."): v for k, v in content["state_dict"].items()}
        save_file(weights, file, {"fcos": json.dumps(content["fcos"])})


@pytest.mark.parametrize("choice", ["coco", "voc"])
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_every_text_of_a_checkpoints_description_is_resolved_to_itself(
    whole: dict[str, Any], tmp_path: Path, suffix: str, choice: str
) -> None:
    kept = {**whole, "fcos": {**whole["fcos"], "data_choice": choice}}
    places = list(leaves(kept["fcos"]))
    assert len(places) > 60
    seen = set()
    for place in places:
        write(kept, place, tmp_path / f"odd{suffix}")
        try:
            checkpoint = Checkpoint.read(tmp_path / f"odd{suffix}")
            if not offer_data_of(checkpoint.about):
                continue
        except UserError as error:  # a text where none can be
            assert SECRET not in str(error)
            continue
        with composed("test", ["data=from_checkpoint"]) as config:
            data: Any = OmegaConf.to_container(config.data, resolve=True)
        if place[0] == "data" and place[1] in data:
            assert data[place[1]] in (NAMES[4], [NAMES[4], "b"])
            seen.add(place[1])
        assert SECRET not in repr(data)
    assert {"root", "on_bad_image", "val_split"} <= seen
    assert {"coco": "annotations", "voc": "class_names"}[choice] in seen


@pytest.mark.parametrize(
    "place", [("data", "root"), ("data", "annotations"), ("spec", "class_names", 0), ("name",)]
)
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_no_text_of_a_checkpoint_is_run_by_a_command(
    whole: dict[str, Any],
    command: Command,
    tmp_path: Path,
    suffix: str,
    place: tuple[Any, ...],
) -> None:
    file = tmp_path / f"odd-{'-'.join(map(str, place))}{suffix}"
    write(whole, place, file)
    result = command("test", f"ckpt={file}", "trainer.accelerator=cpu")
    assert result.code == 2 and "Traceback" not in result.err, result.err
    assert "no COCO data" in result.err  # it was got that far
    check(Result(0, result.out, result.err), tmp_path)


def test_a_folder_of_such_a_name_is_given_by_quoting(command: Command, odd: Path) -> None:
    """What the user writes is Hydra's to look up, unless it is escaped, as Hydra has it."""
    words = (*coco(odd / "set${b}"), r"data.root='set\${b}'")
    check(command("train", *SHORT, *words, r"run_dir='run\${b}'"), odd)
    config = yaml.safe_load((odd / "run${b}/config.yaml").read_text())
    assert Path(config["data"]["root"]).name == "set${b}"
    sides = ("data.shorter_side=64", "data.longer_side=64")
    check(command("test", r"ckpt=run\${b}/checkpoints/best.ckpt", *words, *sides), odd)

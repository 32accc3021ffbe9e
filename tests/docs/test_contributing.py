"""The recipes of CONTRIBUTING.md, taken from the document and run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

import fcos_lightning
from fcos_lightning import Target, build_detector, load_detector
from fcos_lightning.boxes import centerness
from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.runs.config.composed import composed
from fcos_lightning.structures import Assignment, Batch, Losses, Points, Prediction, Targets

DOCUMENT = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
#: A block as it is printed, and the file that it names in its first comments.
FENCE = re.compile(r"^```\w+\n((?:# @[^\n]*\n)?# (\S+)\n.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = [
    "mypkg/log_distance.py",
    "mypkg/one_to_one.py",
    "mypkg/plain_net.py",
    "mypkg/yolo_text.py",
]
YAML = [
    "myconf/data/yolo_text.yaml",
    "myconf/method/log_distance.yaml",
    "myconf/method/one_to_one.yaml",
    "myconf/model/plain_net.yaml",
]
TINY = {"name": "tiny", "norm": "trained", "frozen_stages": 0}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the document's files, whose package can be imported."""
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "mypkg").mkdir()
    (folder / "mypkg" / "__init__.py").touch()
    for body, name in FENCE.findall(DOCUMENT.read_text(encoding="utf-8")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "mypkg"]:
        del sys.modules[name]


def config(folder: Path, name: str) -> dict[str, Any]:
    plain = OmegaConf.to_container(OmegaConf.load(folder / "myconf" / name))
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def made(written: Path, name: str, **changes: Any) -> DenseDetector:
    """The detector of one of the document's files, on a small net."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"_target_": "fcos_lightning.build_detector", "backbone": TINY}
    options |= config(written, name)
    for part, changed in changes.items():
        options[part] = {**options[part], **changed}
    detector = instantiate(options, num_classes=3, _convert_="all")
    assert isinstance(detector, DenseDetector)
    return detector


def step(detector: DenseDetector) -> Losses:
    """One step on two random images: one with boxes, one without."""
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
        for height, width in ((90, 128), (128, 100))
    ]
    targets = Targets.stack(
        [
            Target(
                torch.tensor([[10.0, 12.0, 60.0, 70.0], [70.0, 20.0, 120.0, 60.0]]),
                torch.tensor([0, 2]),
            ),
            Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
        ]
    )
    batch = detector.train().collate(images)
    points = detector.grid(batch)
    prediction = detector(batch)
    assignment = detector.assign(points, targets)
    assert assignment.positive.any()
    losses = detector.loss(prediction, assignment, points)
    losses.total.backward()
    return losses


def test_the_document_has_the_files_it_names(written: Path) -> None:
    found = {str(path.relative_to(written)) for path in written.rglob("*") if path.is_file()}
    assert {name for name in found if "__" not in name} == {*CODE, *YAML}


def test_every_fence_of_code_is_one_of_these_files() -> None:
    """A block without its path would be shown and never run."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert len(re.findall(r"^```(?:python|yaml)$", text, re.MULTILINE)) == len(CODE) + len(YAML)


@pytest.mark.parametrize("name", CODE)
def test_recipes_keep_our_own_style(written: Path, name: str) -> None:
    settings = ["--config", str(DOCUMENT.with_name("pyproject.toml"))]
    # Whether mypkg is ours or a library decides its place among the imports; here it is neither.
    check = [sys.executable, "-m", "ruff", "check", "--no-cache", "--ignore=I", *settings, name]
    formatted = [sys.executable, "-m", "ruff", "format", "--check", "--no-cache", *settings, name]
    for command in (check, formatted):
        done = subprocess.run(command, cwd=written, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_backbone(written: Path) -> None:
    detector = made(written, "model/plain_net.yaml")
    assert type(detector.backbone).__name__ == "PlainNet"
    assert detector.strides == (8, 16, 32, 64, 128)
    losses = step(detector)
    assert losses.total.isfinite()
    assert losses.terms["box"] > 0
    for name, weight in detector.backbone.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
    first = detector.backbone.stages[0][0].weight.grad
    assert first.abs().sum() > 0


def test_loss(written: Path) -> None:
    file = "method/log_distance.yaml"
    torch.manual_seed(0)
    usual = step(build_detector(num_classes=3, backbone=TINY))
    once = step(made(written, file))
    twice = step(made(written, file, loss={"weight": 2.0}))
    assert once.terms["box"] > 0
    assert torch.isclose(twice.terms["box"], 2 * once.terms["box"])
    assert not torch.isclose(once.terms["box"], usual.terms["box"])
    for name in ("cls", "quality"):
        assert torch.equal(once.terms[name], usual.terms[name])


def one_box(detector: DenseDetector) -> tuple[Points, Prediction, Assignment]:
    images = detector.collate([torch.zeros(3, 64, 64, dtype=torch.uint8)])
    points = detector.grid(images)
    target = Target(torch.tensor([[8.0, 8.0, 50.0, 40.0]]), torch.tensor([1]))
    with torch.no_grad():
        prediction = detector(images)
    return points, prediction, detector.assign(points, Targets.stack([target]), prediction)


def test_loss_is_the_formula_it_states(written: Path) -> None:
    detector = made(written, "method/log_distance.yaml")
    points, prediction, assignment = one_box(detector)
    rows = assignment.positive[0].nonzero().flatten().tolist()
    expected = 0.0
    for row in rows:
        stride = points.stride[row]
        ours, true = prediction.ltrb_px[0, row] / stride, assignment.ltrb_px[0, row] / stride
        expected += float(((1 + ours) / (1 + true)).log().abs().sum()) / len(rows)
    assert rows
    box = detector.loss(prediction, assignment, points).terms["box"]
    assert float(box) == pytest.approx(expected)


def test_method(written: Path) -> None:
    detector = made(written, "method/one_to_one.yaml")
    points, _, assignment = one_box(detector)
    many = build_detector(num_classes=3, backbone=TINY).assign(
        points, [Target(torch.tensor([[8.0, 8.0, 50.0, 40.0]]), torch.tensor([1]))]
    )
    claiming = many.positive[0].nonzero().flatten()
    (kept,) = assignment.positive[0].nonzero().flatten().tolist()
    assert len(claiming) > 1 and kept in claiming
    # Every other point of the box is less central, and neither positive nor background.
    central = centerness(many.ltrb_px[0, claiming])
    assert central.max() == centerness(many.ltrb_px[0, kept])
    assert assignment.ignored is not None
    ignored = assignment.ignored[0].nonzero().flatten().tolist()
    assert sorted([*ignored, kept]) == claiming.tolist()
    losses = step(detector.train())
    assert list(losses.terms) == ["cls", "box"] and losses.total.isfinite()
    plain = made(written, "method/one_to_one.yaml", assigner={"ignore_others": False})
    assert one_box(plain)[2].ignored is None


def test_a_checkpoint_of_the_method_asks_for_its_part(written: Path, tmp_path: Path) -> None:
    detector = made(written, "method/one_to_one.yaml")
    file = tmp_path / "a.safetensors"
    Checkpoint(file, detector.spec, detector.state_dict(), {}, {}).write(file)
    with pytest.raises(UserError, match=r"its assigner is .+OneToOne, code .+ method=NAME "):
        load_detector(file)
    again = load_detector(file, assigner=detector.assigner)  # type: ignore[arg-type]
    assert again.assigner == detector.assigner and again.decoder == detector.decoder


@pytest.fixture
def yolo_folder(tmp_path: Path) -> Path:
    """Three images of two sizes: two boxes, an empty file, and no file."""
    (tmp_path / "classes.txt").write_text("cell\nplatelet\n", encoding="utf-8")
    noise = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / kind / split).mkdir(parents=True)
        for name, (height, width) in (("a", (60, 100)), ("b", (80, 80)), ("c", (60, 100))):
            pixels = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / split / f"{name}.jpg")
        lines = "0 0.5 0.5 0.2 0.5\n1 0.25 0.25 0.5 0.5\n"
        (tmp_path / "labels" / split / "a.txt").write_text(lines, encoding="utf-8")
        (tmp_path / "labels" / split / "b.txt").write_text("", encoding="utf-8")
    return tmp_path


def data_of(written: Path, root: Path, **changes: object) -> Any:  # the document's class
    options = {**config(written, "data/yolo_text.yaml"), "root": str(root), **changes}
    return instantiate(options, augmentation=None, seed=0, _convert_="all")


def test_data_set(written: Path, yolo_folder: Path) -> None:
    data = data_of(written, yolo_folder, batch_size=3, num_workers=0, group_by_aspect=False)
    truth = data.train.truth
    assert truth.class_names == ("cell", "platelet")
    assert truth.first_box.tolist() == [0, 2, 2, 2]
    assert truth.sizes_hw.tolist() == [[60, 100], [80, 80], [60, 100]]
    np.testing.assert_allclose(truth.boxes_xyxy, [[40, 15, 60, 45], [0, 0, 50, 30]])
    np.testing.assert_allclose(truth.areas_px, [600, 1500])
    assert truth.labels.tolist() == [0, 1]

    batches = list(data.train_dataloader())
    assert len(batches) == 1
    assert isinstance(batches[0], Batch)
    assert int(batches[0].targets.valid.sum()) == 2
    assert sum(len(batch) for batch in data.val_dataloader()) == 3


def test_data_set_with_a_checkpoints_classes(written: Path, yolo_folder: Path) -> None:
    data = data_of(written, yolo_folder)
    truth = data.read_val(["platelet", "cell"], [1, 0]).truth
    assert truth.class_names == ("platelet", "cell")
    assert truth.labels.tolist() == [1, 0]


@pytest.mark.parametrize("line", ["0 0.5 0.5 0.2", "7 0.5 0.5 0.2 0.2", "cell 0 0 1 1"])
def test_data_set_names_the_bad_line(written: Path, yolo_folder: Path, line: str) -> None:
    file = yolo_folder / "labels" / "train" / "c.txt"
    file.write_text(f"0 0.5 0.5 0.2 0.2\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(f"{file}, line 2")):
        _ = data_of(written, yolo_folder).train


def test_data_set_says_what_is_missing(written: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"classes\.txt is missing"):
        _ = data_of(written, tmp_path).train
    (tmp_path / "classes.txt").write_text("cell\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"has no \.jpg files"):
        _ = data_of(written, tmp_path).train


def command(written: Path, name: str, *arguments: str) -> str:
    """Run one of our commands where the document's files lie; return what it printed."""
    ours = Path(fcos_lightning.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", f"fcos_lightning.cli.{name}", *arguments],
        cwd=written,
        env={**os.environ, "PYTHONPATH": f"{ours}{os.pathsep}{written}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", YAML)
def test_a_file_is_read_as_it_is_printed(written: Path, name: str) -> None:
    """What it says arrives where the run looks for it, and nowhere else."""
    group, choice = Path(name).parent.name, Path(name).stem
    words = ["trusted_packages=[mypkg]", f"{group}={choice}"]
    said = OmegaConf.load(written / name)
    with composed("train", words, written / "myconf") as found:
        part = found.model if group == "method" else found[group]
        for key, value in said.items():
            assert part[key] == value, key


def test_hydra_composes_the_commands(written: Path) -> None:
    shown = re.findall(
        r"^PYTHONPATH=\. fcos-train (.+)$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(shown) == 4
    for arguments in shown:
        assert "mypkg." in command(written, "train", *shlex.split(arguments), "--cfg", "job")


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["model=plain_net", "method=one_to_one", "method=log_distance"])
def test_train_and_test_with_the_recipes(written: Path, yolo_folder: Path, choice: str) -> None:
    own = ["--config-dir", "myconf", "trusted_packages=[mypkg]", choice]
    net = [] if choice.startswith("model") else ["model=tiny"]
    data = ["data=yolo_text", f"data.root={yolo_folder}", "data.shorter_side=64"]
    run = yolo_folder / "run"
    small = ["data.batch_size=3", "data.num_workers=0", "trainer.accelerator=cpu"]
    steps = ["trainer.max_steps=2", "logger=none", f"run_dir={run}"]
    command(written, "train", *own, *net, *data, *small, *steps)
    best = run / "checkpoints" / "best.ckpt"
    tested = yolo_folder / "tested"
    command(written, "test", *own, f"ckpt={best}", *data, *small[1:], f"run_dir={tested}")
    assert (tested / "metrics.json").read_text() == (run / "metrics.json").read_text()
    # Goes on where it was, and ends as it did.
    command(written, "train", "--config-dir", "myconf", "trusted_packages=[mypkg]", f"resume={run}")

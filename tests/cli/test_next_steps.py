"""What a run says to do next can be pasted into a shell, and works."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.cli.running import SMALL, Command

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        steps = [nn.Conv2d(3, width, 8, 8), nn.Conv2d(width, width, 2, 2)]
        self.steps = nn.ModuleList([*steps, nn.Conv2d(width, width, 2, 2)])
        self.channels, self.strides = (width,) * 3, (8, 16, 32)

    def forward(self, images):
        maps = []
        for step in self.steps:
            images = step(images)
            maps.append(images)
        return maps
"""

PARTS = """
from dataclasses import dataclass
from fcos_lightning.data import ShapesDataModule
from fcos_lightning.detector import FCOSLoss

@dataclass(frozen=True)
class OwnLoss(FCOSLoss):
    weight: float = 1.0
    note: str = ""

class OwnData(ShapesDataModule):
    pass
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Words that name a backbone of the user's own."""
    (tmp_path / "nextpkg").mkdir()
    (tmp_path / "nextpkg" / "__init__.py").write_text(NET, encoding="utf-8")
    choice = tmp_path / "my conf" / "model" / "own_net.yaml"
    choice.parent.mkdir(parents=True)
    choice.write_text(
        "backbone: {_target_: nextpkg.Net, width: 4}\nfpn: {channels: 8}\nhead: {num_convs: 2}\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield ["--config-dir", "my conf", "trusted_packages=[nextpkg]", "model=own_net"]
    sys.modules.pop("nextpkg", None)


def next_words(printed: str) -> list[list[str]]:
    lines = printed.split("next:\n")[1].splitlines()[:-1]  # the last is for data of one's own
    return [shlex.split(line) for line in lines]


def test_a_run_of_ones_own_parts_in_an_odd_folder(
    command: Command, own: list[str], tmp_path: Path
) -> None:
    words = (*own, *SMALL, "model.backbone.width=6", "schedule.max_epochs=1", "logger=none")
    drawn = "data.root=drawn, (1)"
    run = command("train", *words, drawn, "trainer.accelerator=cpu", "run_dir=it's #1, $HOME")
    assert run.code == 0, run.err
    test, predict, explain = next_words(run.out)
    assert test[:2] == [f"PYTHONPATH={tmp_path}", "fcos-test"]
    result = command("test", *test[2:], "trainer.accelerator=cpu", "run_dir=tested")
    assert result.code == 0, result.err
    result = command("predict", *predict[2:])
    assert result.code == 0 and result.out.startswith("8 images"), result.err
    assert explain[:2] == [f"PYTHONPATH={tmp_path}", "fcos-explain"]
    result = command("explain", *explain[2:], "device=cpu", "run_dir=explained")
    assert result.code == 0, result.err

    checkpoint = "ckpt=it's #1, $HOME/checkpoints/best.ckpt"
    result = command("convert", checkpoint, "out=own.safetensors")
    assert result.code == 0 and "nextpkg.Net, 5 classes" in result.out
    image = Image.new("RGB", (64, 64))
    image.save("one.png")
    again = ("source=one.png", "out=again", *own, "++model.backbone.width=6")
    result = command("predict", "ckpt=own.safetensors", *again)
    assert result.code == 0, result.err


def test_a_run_of_ones_own_parts_that_went_on(
    command: Command, own: list[str], tmp_path: Path
) -> None:
    """What is said then needs no file of the user's, only the code."""
    with (tmp_path / "nextpkg" / "__init__.py").open("a", encoding="utf-8") as file:
        file.write(PARTS)
    method = tmp_path / "my conf" / "method" / "own_loss.yaml"
    method.parent.mkdir()
    method.write_text(
        "# @package model\n_target_: fcos_lightning.build_detector\n"
        'loss: {_target_: nextpkg.OwnLoss, weight: 1.0, note: "it\'s {a: 1}, \\\\"}\n',
        encoding="utf-8",
    )
    data = tmp_path / "my conf" / "data" / "own_data.yaml"
    data.parent.mkdir()
    ours = (Path(__file__).parents[2] / "conf" / "data" / "shapes.yaml").read_text("utf-8")
    target = "fcos_lightning.data.ShapesDataModule"
    assert target in ours
    data.write_text(ours.replace(target, "nextpkg.OwnData"), encoding="utf-8")
    words = (*own, "method=own_loss", "data=own_data", *SMALL, "logger=none")
    cpu = "trainer.accelerator=cpu"
    run = command("train", *words, "schedule.max_epochs=1", "data.root=drawn", cpu, "run_dir=r")
    assert run.code == 0, run.err
    root = f"data.root={tmp_path / 'drawn'}"
    again = ("resume=r", "schedule.max_epochs=2", own[2], root)
    run = command("train", *again)
    assert run.code == 0, run.err
    test, predict, explain = next_words(run.out)
    for name, said in (("test", test), ("explain", explain)):
        assert said[1] == f"fcos-{name}" and "--config-dir" not in said
        result = command(name, *said[2:], *([cpu] if name == "test" else ["device=cpu"]))
        assert result.code == 0, result.err
    result = command("predict", *predict[2:])
    assert result.code == 0 and result.out.startswith("8 images"), result.err


def test_a_folder_that_is_taken_is_not_proposed(command: Command) -> None:
    Path("predictions").mkdir()
    quick = (*SMALL, "schedule.max_epochs=1", "logger=none", "trainer.accelerator=cpu")
    run = command("train", *quick, "run_dir=r")
    assert next_words(run.out)[1][-1] == "out=predictions_2"
    assert next_words(run.out)[0] == ["fcos-test", "ckpt=r/checkpoints/best.ckpt"]


def test_the_run_before_on_the_same_data_is_there_to_compare_with(command: Command) -> None:
    quick = (*SMALL, "schedule.max_epochs=1", "logger=none", "trainer.accelerator=cpu")
    assert command("train", *quick, "run_dir=runs/other", "data.val_images=9").code == 0
    first = command("train", *quick, "run_dir=runs/first")
    assert len(next_words(first.out)) == 3  # nothing that would be compared
    second = command("train", *quick, "run_dir=runs/second", "schedule.lr=0.0001")
    compare = next_words(second.out)[3]
    assert compare == ["fcos-compare", "runs/first", "runs/second"]
    result = command("compare", *compare[1:], "resamples=5", "run_dir=compared")
    assert result.code == 0, result.err

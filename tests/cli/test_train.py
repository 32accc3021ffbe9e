import csv
import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from tests.cli.running import FINDING, SMALL, Command, assert_measured_alike, only_run


def steps_logged(run: Path) -> list[str]:
    """The step of every row of the log."""
    with (run / "metrics.csv").open() as file:
        return [row["step"] for row in csv.DictReader(file)]


def test_a_run_leaves_everything_in_its_folder(command: Command, tmp_path: Path) -> None:
    words = ("schedule.max_epochs=2", "trainer.log_every_n_steps=1", "schedule.reference_batch=16")
    result = command("train", *SMALL, *words)
    assert result.code == 0, result.err
    run = only_run(tmp_path)
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    for expected in (
        "config.yaml",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "metrics.csv",
        "metrics.json",
        "predictions.json",
        "previews/epoch_001.jpg",
        "previews/epoch_002.jpg",
        "previews/train_001.jpg",
        "previews/train_002.jpg",
    ):
        assert expected in names
    assert any(name.startswith("tensorboard/events.") for name in names)
    assert not any("=" in name for name in names)
    assert set(path.name for path in tmp_path.iterdir()) == {"runs"}  # nothing beside the run

    # A dozen lines say what is trained on what; the end says what to do next.
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines[:10]] == [
        *("model", "classes", "boxes", "train", "val", "dropped"),
        *("augment", "batch", "schedule", "device"),
    ]
    assert "lr 0.001 (0.002 for a batch of 16)" in result.out  # scaled to the batch of 8
    assert "fcos-test ckpt=" in result.out and "fcos-predict ckpt=" in result.out
    assert "APl" in result.out and "triangle" in result.out

    config = OmegaConf.load(run / "config.yaml")
    assert config.data.image_px == 64 and config.augment.transforms[1].shorter == 64

    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert {
        "train/cls",
        "train/quality_excess",
        "positives/P3",
        "speed/wait_share",
        "val/AP",
    } <= set(rows[0])
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert len(losses) == 6 and all(math.isfinite(loss) for loss in losses)

    figures = json.loads((run / "metrics.json").read_text())
    assert {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "per_class"} <= set(
        figures
    )
    # Plain data only, also with the state of EMA, optimiser and callbacks.
    content = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert content["fcos"]["spec"]["class_names"] == [
        "circle",
        "square",
        "triangle",
        "star",
        "ring",
    ]
    assert "current_model_state" in content


def test_runs_of_one_second_do_not_share_a_folder(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcos_lightning.runs.folder as run_folder

    class Stopped(run_folder.datetime):  # type: ignore[misc, name-defined]
        @classmethod
        def now(cls, tz: object = None) -> "Stopped":
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr(run_folder, "datetime", Stopped)
    first = run_folder.new_run_folder(None, "twin")
    monkeypatch.delenv("FCOS_RUN_DIR")
    monkeypatch.chdir(tmp_path)
    second = run_folder.new_run_folder(None, "twin")
    assert first != second and first.is_dir() and second.is_dir()
    monkeypatch.delenv("FCOS_RUN_DIR", raising=False)


def test_a_run_that_ends_within_an_epoch_keeps_its_end(command: Command, tmp_path: Path) -> None:
    result = command("train", *SMALL, "trainer.max_steps=4")  # an epoch has 3
    assert result.code == 0, result.err
    run = only_run(tmp_path)
    last = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 4
    assert (run / "checkpoints/best.ckpt").is_file()

    other = command("train", *SMALL, "trainer.max_steps=2", "run_dir=short")  # not one epoch
    assert other.code == 0, other.err
    best = torch.load(tmp_path / "short/checkpoints/best.ckpt", weights_only=True)
    assert best["global_step"] == 2


def test_resume_goes_on_in_the_same_folder(command: Command, tmp_path: Path) -> None:
    whole = command("train", *SMALL, "schedule.max_epochs=4", "run_dir=whole")
    assert whole.code == 0, whole.err
    # The same run, ended early as a crash would: its schedule still has four epochs.
    stopper = textwrap.dedent(
        """
        import lightning as L

        class StopAfter(L.Callback):
            def on_train_epoch_start(self, trainer, module):
                if trainer.current_epoch == 2:
                    import os
                    os._exit(9)
        """
    )
    (tmp_path / "stopper.py").write_text(stopper)
    crashed = subprocess.run(
        [
            sys.executable,
            "-m",
            "fcos_lightning.cli.train",
            *SMALL,
            "schedule.max_epochs=4",
            "run_dir=crashed",
            "+callbacks.stop._target_=stopper.StopAfter",
            "trusted_packages=[stopper]",
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert crashed.returncode == 9, crashed.stderr
    config = tmp_path / "crashed/config.yaml"
    stored = OmegaConf.load(config)
    del stored.callbacks.stop  # the crash itself should not come again
    OmegaConf.save(stored, config)
    rows_before = (tmp_path / "crashed/metrics.csv").read_text().splitlines()

    resumed = command("train", "resume=crashed")
    assert resumed.code == 0, resumed.err
    weights = [
        torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True)
        for run in ("whole", "crashed")
    ]
    assert weights[0]["global_step"] == weights[1]["global_step"] == 12
    for key in ("state_dict", "current_model_state"):
        assert all(
            torch.equal(value, weights[1][key][name]) for name, value in weights[0][key].items()
        ), key
    # The log goes on: the rows from before the crash are still there, none twice.
    rows_after = (tmp_path / "crashed/metrics.csv").read_text().splitlines()
    assert len(rows_before) > 1 and rows_after[: len(rows_before)] == rows_before
    assert steps_logged(tmp_path / "crashed") == steps_logged(tmp_path / "whole")
    previews = sorted(path.name for path in (tmp_path / "crashed/previews").iterdir())
    kinds = ("epoch", "train")
    assert previews == [f"{kind}_{epoch:03}.jpg" for kind in kinds for epoch in range(1, 5)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["resume=nowhere"], "no such folder"),
        (["resume=."], "not a run folder"),
        (["resume=x", "init_from=y"], "give one of the two"),
    ],
)
def test_resume_and_init_from_are_not_confused(
    command: Command, words: list[str], said: str
) -> None:
    result = command("train", *words)
    assert result.code == 2
    assert said in result.err and len(result.err.splitlines()) == 1


def test_init_from_lists_what_it_leaves_fresh(command: Command, tmp_path: Path) -> None:
    first = command("train", *SMALL, "trainer.max_steps=3", "run_dir=first")
    assert first.code == 0, first.err
    (tmp_path / "other").mkdir()
    # Other classes: the same data with one category less.
    source = next(Path(os.environ["XDG_CACHE_HOME"]).glob("fcos-lightning/*-64px-*"))
    for split in ("train", "val"):
        content = json.loads((source / f"annotations/instances_{split}.json").read_text())
        content["categories"] = content["categories"][:4]
        content["annotations"] = [a for a in content["annotations"] if a["category_id"] <= 4]
        (tmp_path / f"other/{split}.json").write_text(json.dumps(content))
    ckpt = "first/checkpoints/best.ckpt"
    words = [word for word in SMALL if "train_images" not in word and "val_images" not in word]
    words = [word for word in words if "image_px" not in word]
    second = command(
        "train",
        *words,
        "data=coco",
        f"data.root={source}",
        f"data.annotations={tmp_path}/other/SPLIT.json",
        "data.train_split=train",
        "data.val_split=val",
        "trainer.max_steps=1",
        f"init_from={ckpt}",
        "run_dir=second",
    )
    assert second.code == 0, second.err
    assert (
        "init_from took over classes by name: circle, square, triangle, star; fresh: none"
        in second.out
    )

    bad = command("train", *SMALL, "init_from=nothing.ckpt")
    assert bad.code == 2 and "nothing.ckpt: no such file" in bad.err


def test_nothing_of_another_run_is_written_over(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep")
    result = command("train", *SMALL, "trainer.max_steps=1", "run_dir=mine")
    assert result.code == 2 and "never writes into another" in result.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_loss_that_is_not_finite_stops_before_it_spoils_anything(
    command: Command, tmp_path: Path
) -> None:
    good = command("train", *SMALL, "schedule.max_epochs=1", "run_dir=good")
    assert good.code == 0, good.err
    result = command(
        "train", *SMALL, "schedule.lr=1e30", "trainer.gradient_clip_val=null", "run_dir=bad"
    )
    assert result.code == 2
    (line,) = [line for line in result.err.splitlines() if line.startswith("error:")]
    assert "loss is not finite at step" in line and "images [" in line and "=nan" in line.lower()
    assert not list((tmp_path / "bad").glob("checkpoints/*.ckpt"))


def test_every_rank_takes_part(command: Command, tmp_path: Path) -> None:
    """Two processes on this processor: one run folder, and the AP that one process finds."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "fcos_lightning.cli.train",
            *FINDING,
            "trainer.devices=2",
            "trainer.strategy=ddp",
            "trainer.accelerator=cpu",
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    run = only_run(tmp_path)
    assert "2 device(s), 4 each" in result.stdout
    assert result.stdout.count("run folder ") == 2  # the summary and the end, of one rank
    assert_measured_alike(command, run, tmp_path / "alone")


def test_devices_that_cannot_share_a_batch_are_refused(command: Command) -> None:
    result = command(
        "train", *SMALL, "trainer.devices=3", "trainer.accelerator=cpu", "trainer.strategy=auto"
    )
    assert result.code == 2
    assert "cannot be shared by 3 devices; use 2 or 4 devices" in result.err


@pytest.mark.parametrize("shown", [True, False])
def test_the_bar_shows_losses_positives_speed_and_waiting(command: Command, shown: bool) -> None:
    words = [word for word in SMALL if word != "callbacks.progress=null"]
    words += ["trainer.max_steps=3", "trainer.log_every_n_steps=1"]
    result = command("train", *words, f"trainer.enable_progress_bar={str(shown).lower()}")
    assert result.code == 0, result.err
    text = " ".join(result.out.split())
    for part in ("loss: ", "cls: ", "box: ", "quality: ", "positives: ", "images/s: ", "wait: "):
        assert (part in text) == shown


def test_what_lightning_is_asked_for_is_done_and_said(command: Command, tmp_path: Path) -> None:
    words = (
        *("trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "data.eval_batch_size=2"),
        *("+trainer.profiler=simple", "trainer.enable_model_summary=true", "run_dir=run"),
        "+callbacks.more._target_=fcos_lightning.training.callbacks.keep_more.KeepMore",
    )
    result = command("train", *SMALL, "schedule.max_epochs=2", *words)
    assert result.code == 0, result.err
    assert "2 steps an epoch" in result.out and "4 steps = 2.0 epochs" in result.out
    assert "of 2 of 8 images" in result.out  # of each epoch; the report is of all
    assert "profile: run/fit-profile.txt" in result.out
    assert "run_training_batch" in (tmp_path / "run/fit-profile.txt").read_text()
    assert "Total params" in result.out + result.err
    kept = {file.name for file in (tmp_path / "run/checkpoints").iterdir()}
    assert kept == {"best.ckpt", "last.ckpt", "epoch=0.ckpt", "epoch=1.ckpt"}
    assert "images_seen" not in json.loads((tmp_path / "run/metrics.json").read_text())


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("trainer.max_epochs=0", "trainer.max_epochs=0: give at least 1"),
        ("+trainer.overfit_batches=1", "trainer.overfit_batches=1: a run draws its batches anew"),
        ("callbacks.best.mode=min", "callbacks.best.mode=min: of these figures the highest"),
        ("callbacks.best=null", "none of them keeps best.ckpt"),
    ],
)
def test_what_would_not_do_what_it_says_is_refused(
    command: Command, tmp_path: Path, word: str, said: str
) -> None:
    result = command("train", *SMALL, word, "run_dir=run")
    assert result.code == 2 and said in result.err, result.err
    assert not (tmp_path / "run").exists()

"""A run that is stopped anywhere goes on as if nothing had been."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.cli.running import SMALL, Command

#: Ten batches an epoch, three epochs, each step logged.
RUN = (
    *(word for word in SMALL if not word.startswith(("data.train_images", "data.batch_size"))),
    "data.train_images=40",
    "data.batch_size=4",
    "schedule.max_epochs=3",
    "trainer.log_every_n_steps=1",
    "callbacks.previews=null",
)


def start(folder: Path, callback: str, *words: str, run_dir: str = "cut") -> list[str]:
    """The command of a run with one of the interruptions."""
    name, *options = callback.split(",")
    return [
        *(sys.executable, "-m", "fcos_lightning.cli.train", *RUN, *words, f"run_dir={run_dir}"),
        f"+callbacks.end._target_=interruptions.{name}",
        *(f"+callbacks.end.{option}" for option in options),
        "trusted_packages=[interruptions]",
    ]


def environment() -> dict[str, str]:
    paths = (str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def interrupted(folder: Path, callback: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run until the interruption; the next start is without it."""
    done = subprocess.run(
        start(folder, callback, *words),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    forget_callback(folder / "cut")
    return done


def forget_callback(run: Path) -> None:
    config = OmegaConf.load(run / "config.yaml")
    del config.callbacks.end
    OmegaConf.save(config, run / "config.yaml")


def last(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    return content


def check_same(whole: Path, cut: Path) -> None:
    """Weights, average, optimiser, log and best checkpoint are those of a run that went through."""
    expected, found = last(whole), last(cut)
    assert expected["global_step"] == found["global_step"]
    for key in ("state_dict", "current_model_state"):
        for name, value in expected[key].items():
            assert torch.equal(value, found[key][name]), (key, name)
    assert expected["averaging_state"] == found["averaging_state"]
    states = [content["optimizer_states"][0]["state"] for content in (expected, found)]
    for index, state in states[0].items():
        for name, value in state.items():
            assert torch.equal(value, states[1][index][name]), (index, name)
    assert rows(whole) == rows(cut)
    best = [torch.load(run / "checkpoints/best.ckpt", weights_only=True) for run in (whole, cut)]
    assert best[0]["global_step"] == best[1]["global_step"]
    assert (whole / "metrics.json").read_text() == (cut / "metrics.json").read_text()
    assert not list((cut / "checkpoints").glob(".*"))  # nothing half written is left


def rows(run: Path) -> list[tuple[str, ...]]:
    """What the log says of each step, but for the times."""
    with (run / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    return [
        tuple(value for key, value in row.items() if not key.startswith("speed/")) for row in table
    ]


def events(run: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: what was logged after the checkpoint is purged."""
    shown = EventAccumulator(str(run / "tensorboard"))
    shown.Reload()
    return {
        tag: [(event.step, event.value) for event in shown.Scalars(tag)]
        for tag in ("train/loss", "train/cls", "val/AP")
    }


CASES = [
    # In the midst of an epoch, with the average of weights.
    ("AtStep,step=14", "checkpoint.every_n_steps=4", 12),
    # Loader processes read ahead; gradients of two batches are accumulated.
    (
        "AtStep,step=8",
        "checkpoint.every_n_steps=2 data.num_workers=2 trainer.accumulate_grad_batches=2",
        6,
    ),
    ("AtStep,step=10", "checkpoint.every_n_steps=100 data.num_workers=2", 10),
    ("InValidation,step=20", "checkpoint.every_n_steps=100", 20),
    ("InValidation,step=20,how=SIGTERM", "data.num_workers=2", 20),
    ("AtStep,step=0,how=SIGTERM", "", 0),
    ("AtStep,step=10,how=SIGINT", "", 10),
    ("AtStep,step=15,how=SIGUSR1", "trainer.val_check_interval=0.5", 15),
    ("AtStep,step=13", "checkpoint.every_n_steps=1 trainer.check_val_every_n_epoch=2", 12),
    ("AtStep,step=10,how=SIGINT", "trainer.check_val_every_n_epoch=2", 10),
    ("InValidation,step=30,how=SIGINT", "", 30),
    # Another method: its own mapping, head and loss.
    *(
        ("AtStep,step=14", f"method={method} checkpoint.every_n_steps=4", 12)
        for method in (
            *("retinanet", "fcos_plain", "fcos_iou", "atss", "gfl", "tal", "dsla"),
            *("foveabox", "centernet", "densebox", "ssd"),
        )
    ),
    # Accumulated batches of a mapping that looks at predictions.
    (
        "AtStep,step=8",
        "method=gfl checkpoint.every_n_steps=2 trainer.accumulate_grad_batches=2",
        6,
    ),
]


@pytest.mark.parametrize(
    ("callback", "words", "kept"),
    [
        case if index < 2 else pytest.param(*case, marks=pytest.mark.slow)
        for index, case in enumerate(CASES)
    ],
)
def test_a_run_goes_on_as_if_nothing_had_been(
    command: Command, tmp_path: Path, callback: str, words: str, kept: int
) -> None:
    """Killed or stopped by a signal; bitwise equal on a processor in float32."""
    same = [word for word in words.split() if not word.startswith("checkpoint.")]
    whole = command("train", *RUN, *same, "run_dir=whole")
    assert whole.code == 0, whole.err
    ended = interrupted(tmp_path, callback, *words.split())
    if "how=" in callback:
        signum = getattr(signal, callback.rpartition("how=")[2])
        assert ended.returncode == 128 + signum, ended.stderr
        assert "Traceback" not in ended.stderr
        (line,) = (line for line in ended.stdout.splitlines() if "go on with: " in line)
        assert f"after step {kept}; " in line and "fcos-train resume=cut" in line
    else:
        assert ended.returncode == 9, ended.stderr
    assert last(tmp_path / "cut")["global_step"] == kept
    resumed = command("train", "resume=cut")
    assert resumed.code == 0, resumed.err
    check_same(tmp_path / "whole", tmp_path / "cut")
    assert events(tmp_path / "whole") == events(tmp_path / "cut")


_OPTIONS: dict[str, Any] = {"capture_output": True, "text": True, "check": False, "timeout": 240}
SEEN = ("+callbacks.seen._target_=interruptions.Seen", "+callbacks.seen.folder=.")


def seen(folder: Path, rank: int) -> dict[int, list[str]]:
    """The images of each step and the sum of their pixels; of a repeated step the last time."""
    lines = (folder / f"seen{rank}.txt").read_text().splitlines()
    return {int(line.split(":")[0]): line.split(":")[1].split() for line in lines}


def test_all_ranks_stop_at_one_step_and_go_on_on_another_number(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM comes to the second of two ranks alone; the run goes on on one device."""
    ended = interrupted(tmp_path, "AtStep,step=13,how=SIGTERM,rank=1", "trainer=ddp_sim", *SEEN)
    assert ended.returncode == 128 + signal.SIGTERM, ended.stderr
    assert ended.stdout.count("go on with: ") == 1
    assert last(tmp_path / "cut")["global_step"] == 13
    monkeypatch.syspath_prepend(Path(__file__).parent)
    first, second = seen(tmp_path, 0), seen(tmp_path, 1)
    assert list(first) == list(second) == list(range(14))  # both fetched a batch, and stopped
    (tmp_path / "seen0.txt").unlink()
    # A stranger's run folder may not call for code or write elsewhere: who resumes says it again.
    own = ("trusted_packages=[interruptions]", "++callbacks.seen.folder=.")
    moved = ("trainer.devices=1", "trainer.strategy=auto")
    resumed = command("train", "resume=cut", *moved, *own)
    assert resumed.code == 0, resumed.err
    rest = seen(tmp_path, 0)
    (tmp_path / "seen0.txt").unlink()
    whole = command("train", *RUN, *SEEN, "trusted_packages=[interruptions]", "run_dir=whole")
    assert whole.code == 0, whole.err
    expected = seen(tmp_path, 0)
    assert list(expected) == list(range(30))
    for step in range(13):
        together = [*first[step][:2], *second[step][:2], str(_sum(first[step], second[step]))]
        assert together == expected[step]
    assert rest == {step: expected[step] for step in range(13, 30)}


def _sum(one: list[str], other: list[str]) -> int:
    return int(one[-1]) + int(other[-1])


def test_minutes_bring_a_checkpoint_within_an_epoch(tmp_path: Path) -> None:
    words = ("checkpoint.every_n_minutes=0.02", "data.batch_size=4")
    process = subprocess.Popen(
        start(tmp_path, "Linger,seconds=0.5", *words),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    file, until = tmp_path / "cut/checkpoints/last.ckpt", time.monotonic() + 120
    while not file.is_file() and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert 0 < last(tmp_path / "cut")["global_step"] < 10


def test_a_step_that_is_not_finite_can_be_looked_at_again(command: Command, tmp_path: Path) -> None:
    from fcos_lightning.training.replay import replay

    words = ("schedule.lr=1e30", "trainer.gradient_clip_val=null", "run_dir=bad")
    result = command("train", *RUN, *words)
    assert result.code == 2 and "nonfinite.pt holds the step" in result.err
    assert not torch.isfinite(replay(tmp_path / "bad/nonfinite.pt").total)


@pytest.mark.parametrize(
    ("step", "words", "kept"),
    [(9, "trainer.gradient_clip_val=10", None), (4, "checkpoint.every_n_steps=1", 4)],
)
def test_weights_that_are_not_finite_are_never_saved(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    words: str,
    kept: int | None,
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    spoils = "+callbacks.spoils._target_=interruptions.NoGradient"
    own = ("trusted_packages=[interruptions]", f"+callbacks.spoils.step={step}", "run_dir=bad")
    result = command("train", *RUN, spoils, *own, words)
    assert result.code == 2 and "Traceback" not in result.err
    assert f"the weights are not finite after step {step + 1}" in result.err
    files = list((tmp_path / "bad").rglob("*.ckpt"))
    if kept is None:
        assert files == [] and "there is no checkpoint yet" in result.err
    else:
        assert "last.ckpt of before is intact" in result.err
        assert [file.name for file in files] == ["last.ckpt"]
        content = last(tmp_path / "bad")
        assert content["global_step"] == kept
        assert all(torch.isfinite(one).all() for one in content["state_dict"].values())


def test_statistics_are_shared_between_gpus_only(command: Command) -> None:
    result = command("train", *RUN, "trainer.accelerator=cpu", "trainer.sync_batchnorm=true")
    assert result.code == 2 and "between GPUs only" in result.err


def test_wrong_times_are_refused(command: Command, tmp_path: Path) -> None:
    result = command("train", *RUN, "checkpoint.every_n_minutes=0")
    assert result.code == 2 and "checkpoint.every_n_minutes=0: give a number above 0" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB; where one may not be mounted, a folder."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    yield folder
    if mounted.returncode == 0:
        subprocess.run(["umount", str(folder)], check=False)


def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path: Path, small_disk: Path) -> None:
    """There is room for one checkpoint and a half; the next does not fit."""
    first = subprocess.run(
        start(tmp_path, "AtStep,step=3,how=SIGTERM", run_dir=str(small_disk / "run")),
        **_OPTIONS,
        cwd=tmp_path,
        env=environment(),
    )
    assert first.returncode == 128 + signal.SIGTERM, first.stderr
    run = small_disk / "run"
    forget_callback(run)
    before = (run / "checkpoints/last.ckpt").read_bytes()
    if os.path.ismount(small_disk):
        free = shutil.disk_usage(small_disk).free - len(before) // 2
        (small_disk / "ballast").write_bytes(bytes(free))
        limit = resource.RLIM_INFINITY
    else:
        limit = len(before) // 2  # of every file, which ends writing just as well
    second = subprocess.run(
        [sys.executable, "-m", "fcos_lightning.cli.train", f"resume={run}"],
        **_OPTIONS,
        cwd=tmp_path,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert second.returncode == 2, second.stderr
    assert "Traceback" not in second.stderr and "the one before is intact" in second.stderr
    assert (run / "checkpoints/last.ckpt").read_bytes() == before
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last.ckpt"]


def test_a_run_goes_on_for_longer_in_a_new_place_with_its_data_moved(
    command: Command, tmp_path: Path
) -> None:
    small = [word for word in SMALL if not word.startswith("schedule")]
    first = command("train", *small, "schedule.max_epochs=1", "data.root=set", "run_dir=old")
    assert first.code == 0, first.err
    assert yaml_of(tmp_path / "old")["data"]["root"] == str(tmp_path / "set")
    (tmp_path / "old").rename(tmp_path / "new")
    for word, said in (
        ("schedule.max_epochs=0", "can only become longer"),
        ("schedule.max_steps=50", "this run's length is schedule.max_epochs=1"),
        ("schedule.lr=1", "resume= goes on with the run's own configuration"),
        ("schedule.lr=1", "data.num_workers, data.cache_gb, a longer schedule.max_epochs, "),
        ("schedule.lr=1", "schedule.max_steps, ++logger.NAME=null"),
    ):
        refused = command("train", "resume=new", word)
        assert refused.code == 2 and said in refused.err, refused.err
    (tmp_path / "set").rename(tmp_path / "moved")
    longer = command("train", "resume=new", "data.root=moved", "schedule.max_epochs=2")
    assert longer.code == 0, longer.err
    assert "the run's own: 6 steps" in longer.out
    assert "as it began: levels" in longer.out  # not what the command line would have chosen
    last = torch.load(tmp_path / "new/checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 6 and not (tmp_path / "old").exists()
    kept = yaml_of(tmp_path / "new")
    assert kept["schedule"]["max_epochs"] == 2 and kept["data"]["root"] == str(tmp_path / "set")

    # Other pictures under the same names are not what it began with.
    file = tmp_path / "moved/annotations/instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][2] += 1
    file.write_text(json.dumps(content))
    other = command("train", "resume=new", "data.root=moved", "schedule.max_epochs=3")
    assert other.code == 2 and "is not the one that the run began with" in other.err, other.err
    assert yaml_of(tmp_path / "new")["schedule"]["max_epochs"] == 2


def yaml_of(run: Path) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text())
    return found

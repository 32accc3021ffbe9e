"""``train(...)`` from a program: the same run as the command's, and nothing left behind."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

import fcos_lightning
from fcos_lightning.errors import UserError
from fcos_lightning.runs.train import train
from fcos_lightning.structures import Detections

WORDS = (
    "model=tiny", "data=shapes", "data.train_images=8", "data.val_images=4", "data.image_px=64",
    "data.shorter_side=64", "data.longer_side=64", "data.batch_size=4", "schedule=quick",
    "schedule.max_epochs=1", "trainer.accelerator=cpu", "callbacks.progress=null",
)  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_two_runs_in_one_process_leave_it_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    words, environment = list(sys.argv), dict(os.environ)
    stopping = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    handlers = {one: signal.getsignal(one) for one in stopping}
    root = f"data.root={Path.cwd() / 'shapes'}"
    first = fcos_lightning.train(*WORDS, root)
    second = fcos_lightning.train(*WORDS, root, "seed=1", "run_dir=mine")
    assert first.folder.parent.name == "fcos" and second.folder == Path("mine").absolute()
    for run in (first, second):
        assert (run.folder / "checkpoints" / "best.ckpt").is_file()
        assert 0 <= run.metrics["AP"] <= run.metrics["AP50"] <= 1
        assert (run.folder / "metrics.json").is_file()
    found = first.predictor(device="cpu")(next(Path("shapes/val").iterdir()))
    assert isinstance(found, Detections)
    assert sys.argv == words and dict(os.environ) == environment
    assert handlers == {one: signal.getsignal(one) for one in handlers}
    assert not GlobalHydra.instance().is_initialized() and not HydraConfig.initialized()
    assert "next:" in capsys.readouterr().out


def test_only_who_trained_on_the_drawn_set_is_told_how_to_train_on_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, told = f"data.root={Path.cwd() / 'shapes'}", "# a data set of your own"
    train(*WORDS, root)
    assert capsys.readouterr().out.rstrip().endswith(told)
    of_drawn = ("data=", "data.train_images", "data.val_images", "data.image_px")
    plain = [word for word in WORDS if not word.startswith(of_drawn)]
    train(*plain, "data=auto", root, "run_dir=again")
    printed = capsys.readouterr().out
    assert "next:" in printed and told not in printed


def test_resume_goes_on_with_the_folder() -> None:
    first = train(*WORDS, f"data.root={Path.cwd() / 'shapes'}", "schedule.max_epochs=1")
    again = train(f"resume={first.folder}")
    assert again.folder == first.folder
    assert again.metrics["AP"] == first.metrics["AP"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model=nonsense",), "nonsense"),
        (("schedul.lr=1",), "schedul"),
        (("help",), "give overrides"),
        ((*WORDS, "data.root=x", "model.head.num_conv=3"), "num_conv"),
        (("resume=nowhere",), "no such folder"),
        (("resume=nowhere", "init_from=x.ckpt"), "one of the two"),
    ],
)
def test_mistakes_are_one_line_and_end_no_process(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        train(*words)
    assert "\n" not in str(caught.value)
    assert not HydraConfig.initialized() and not Path("runs").exists()


def test_files_of_ones_own() -> None:
    Path("mine/model").mkdir(parents=True)
    Path("mine/model/narrow.yaml").write_text("defaults: [tiny]\nfpn:\n  channels: 32\n")
    words = [word for word in WORDS if not word.startswith("model=")]
    root = f"data.root={Path.cwd() / 'shapes'}"
    run = train(*words, "model=narrow", root, config_dir="mine")
    assert "channels: 32" in (run.folder / "config.yaml").read_text()
    with pytest.raises(UserError, match="no such folder"):
        train("model=narrow", config_dir="absent")


@pytest.mark.slow
def test_a_script_whose_loaders_are_started_anew() -> None:
    # As on Windows and macOS, where a process is not a copy of the one that starts it.
    script = Path("script.py")
    script.write_text(
        textwrap.dedent(
            f"""
            import multiprocessing
            from fcos_lightning import train

            if __name__ == "__main__":
                multiprocessing.set_start_method("spawn")
                run = train(*{list(WORDS)!r}, "data.root=shapes", "data.num_workers=1")
                print(sorted(run.metrics)[:1], run.folder.is_dir())
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(fcos_lightning.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("['AP'] True")

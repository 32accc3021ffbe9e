"""A sweep whose jobs all end with one error stops, whatever is swept; any other goes on."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.cli.conftest import cache_folder as cache_folder
from tests.cli.conftest import command as command
from tests.cli.running import SMALL, Command
from tests.sweeps.test_sweeps import Sweep, states
from tests.sweeps.test_sweeps import sweep as sweep

from fcos_lightning.cli import sweep as cli
from fcos_lightning.sweeps import runner
from fcos_lightning.sweeps.course import has_begun
from fcos_lightning.sweeps.jobs import LocalLauncher
from fcos_lightning.sweeps.manifest import Manifest

SEEDS = "seed=0,1,2,3,4"
FAILS = "+error='no data here'"


@pytest.fixture(autouse=True)
def quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the words of all jobs can be composed is not what is tested here."""
    monkeypatch.setattr(cli, "_COMPOSED_FIRST", 1)
    monkeypatch.setattr(runner, "_PAUSE_S", 0.02)


def counted(folder: Path) -> dict[str, int]:
    found = states(folder)
    return {state: found.count(state) for state in set(found)}


def test_two_jobs_are_enough(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(SEEDS, FAILS) == 1
    assert counted(tmp_path / "s") == {"failed": 2, "waiting": 3}
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("stopped:")]
    assert "2 jobs ended with one error" in line and ": no data here; mend it" in line
    assert line.endswith(f"fcos-train -m sweep.resume={tmp_path / 's'} sweep.on_same_error=run")


def test_what_the_line_says_runs_all(sweep: Sweep, tmp_path: Path) -> None:
    assert sweep(SEEDS, FAILS) == 1
    assert sweep("sweep.resume=s", "sweep.on_same_error=run") == 1
    jobs = Manifest.load(tmp_path / "s").jobs
    assert [(job.state, job.exit_code) for job in jobs] == [("failed", 2)] * 5
    assert sorted(job.attempts for job in jobs) == [1, 1, 1, 2, 2]


def test_the_same_command_tries_again_and_goes_on_once_it_is_mended(
    sweep: Sweep, tmp_path: Path
) -> None:
    assert sweep(SEEDS, FAILS) == 1
    assert sweep(SEEDS, FAILS) == 1
    assert counted(tmp_path / "s") == {"failed": 2, "waiting": 3}
    (tmp_path / "s/mended").touch()
    assert sweep(SEEDS, FAILS) == 0
    assert counted(tmp_path / "s") == {"done": 5}


def test_it_may_be_told_from_the_start(sweep: Sweep, tmp_path: Path) -> None:
    assert sweep(SEEDS, FAILS, "sweep.on_same_error=run") == 1
    assert counted(tmp_path / "s") == {"failed": 5}


def test_of_several_at_once_all_have_to_fail(sweep: Sweep, tmp_path: Path) -> None:
    assert sweep("seed=range(0,9)", FAILS, "sweep.parallel=3") == 1
    assert counted(tmp_path / "s")["failed"] in (3, 4, 5)  # some had begun with the third
    assert counted(tmp_path / "s")["waiting"] >= 4


def test_the_folder_in_an_error_does_not_make_it_another(sweep: Sweep, tmp_path: Path) -> None:
    assert sweep(SEEDS, "+error='cannot write RUN/x'") == 1
    assert counted(tmp_path / "s") == {"failed": 2, "waiting": 3}


def test_a_crash_before_the_first_figures_counts_too(sweep: Sweep, tmp_path: Path) -> None:
    assert sweep(SEEDS, "+crash=true") == 1
    assert counted(tmp_path / "s") == {"failed": 2, "waiting": 3}


@pytest.mark.parametrize(
    "words",
    [
        ("+error='bad a','bad b','bad c','bad d','bad e'",),  # each its own
        ("+error='bad a','bad b','bad a','bad b','bad a'",),
        (SEEDS, "+late=true"),  # they had learnt something
        ("+error=none,x,x1,x2,x3", "+ap=0.1"),  # one went well
    ],
)
def test_other_failures_do_not_stop_it(
    sweep: Sweep, tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert sweep(*words) == 1
    assert "waiting" not in counted(tmp_path / "s") and len(states(tmp_path / "s")) == 5


def test_a_value_that_is_wrong_does_not_stop_the_others(sweep: Sweep, tmp_path: Path) -> None:
    """Of two values one is wrong with the same line: jobs with the other are tried before."""
    assert sweep("+error='no such net',none", SEEDS, "+ap=0.2") == 1
    assert states(tmp_path / "s") == ["failed"] * 5 + ["done"] * 5


def test_a_job_that_shares_nothing_with_the_failed_one_is_next(
    sweep: Sweep, tmp_path: Path
) -> None:
    assert sweep("model=r18,mnv2", "seed=0,1,2", FAILS) == 1
    assert states(tmp_path / "s") == ["failed", *["waiting"] * 3, "failed", "waiting"]


def test_a_search_stops_too_and_goes_on(sweep: Sweep, tmp_path: Path) -> None:
    words = ("+ap=interval(0.1,0.9)", FAILS, "sweep.search=optuna", "sweep.trials=6")
    assert sweep(*words) == 1
    assert states(tmp_path / "s") == ["failed", "failed"]
    (tmp_path / "s/mended").touch()
    assert sweep(*words) == 0
    assert states(tmp_path / "s") == ["done"] * 6


def test_what_a_run_leaves_before_its_first_figures(tmp_path: Path) -> None:
    assert not has_begun(tmp_path / "none")
    run = tmp_path / "run"
    for folder in ("checkpoints", "previews", "tensorboard"):
        (run / folder).mkdir(parents=True)
    (run / "config.yaml").touch()
    (run / "metrics.csv").write_text("epoch,step,val/AP\n")
    assert not has_begun(run)
    for file in ("checkpoints/last.ckpt", "previews/1.jpg", "nonfinite.pt", "metrics.json"):
        (run / file).touch()
        assert has_begun(run), file
        (run / file).unlink()
    (run / "metrics.csv").write_text("epoch,step,val/AP\n0,5,0.1\n")
    assert has_begun(run)


def test_jobs_that_train_in_earnest(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first two of four trainings find no data; no other starts."""
    started = []

    class Ended:
        def __init__(self, code: int) -> None:
            self.code = code

        def exit_code(self) -> int:
            return self.code

    def start(self: LocalLauncher, words: Sequence[str], log: Path, slot: int) -> Ended:
        started.append(words)
        result = command("train", *words)
        log.write_text(result.out + result.err)
        return Ended(result.code)

    monkeypatch.setattr(LocalLauncher, "start", start)
    monkeypatch.setattr(runner, "train_command", lambda words: list(words))
    words = (*SMALL, "data=coco", "data.root=nowhere", "schedule.lr=0.1,0.2,0.3,0.4", "sweep.dir=s")
    monkeypatch.setattr(sys, "argv", ["fcos-train"])
    monkeypatch.chdir(tmp_path)
    assert (
        cli.sweep([word for word in words if "_images" not in word and "image_px" not in word]) == 1
    )
    assert len(started) == 2
    assert states(tmp_path / "s") == ["failed", "failed", "waiting", "waiting"]
    logs = sorted((tmp_path / "s").glob("*.log"))
    assert ["data.root=nowhere" in log.read_text() for log in logs] == [True, True]
    assert not [path for path in (tmp_path / "s").iterdir() if path.is_dir()]

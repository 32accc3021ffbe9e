import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from statistics import median

import pytest
import torch
from PIL import Image
from rich.console import Console

from fcos_lightning import build_fcos
from fcos_lightning.cli import sweep as cli
from fcos_lightning.errors import UserError
from fcos_lightning.runs.config import composed
from fcos_lightning.structures import Images, Target
from fcos_lightning.sweeps import manifest, runner, search
from fcos_lightning.sweeps.manifest import Lock, Manifest, folder_name
from fcos_lightning.sweeps.results import over_seeds, write_report
from fcos_lightning.sweeps.runner import why
from fcos_lightning.sweeps.space import parse_space

JOB = Path(__file__).with_name("job.py")
Sweep = Callable[..., int]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """Run a sweep whose jobs are small processes instead of trainings."""
    monkeypatch.chdir(tmp_path)

    def command(words: Sequence[str]) -> list[str]:
        return [sys.executable, str(JOB), *(word.lstrip("+") for word in words)]

    monkeypatch.setattr(runner, "train_command", command)
    # The process that stands for a run is told by keys that conf/train.yaml lacks.
    monkeypatch.setattr(composed, "check_keys", lambda *_: None)
    monkeypatch.setattr(runner, "_LOOK_S", 0.1)

    def call(*words: str) -> int:
        return cli.sweep([*words, *([] if "sweep.resume=s" in words else ["sweep.dir=s"])])

    return call


def states(folder: Path) -> list[str]:
    return [job.state for job in Manifest.load(folder).jobs]


def test_a_grid_runs_every_combination_once(sweep: Sweep, tmp_path: Path) -> None:
    assert sweep("model=r18,mnv2", "schedule.lr=0.01,0.005", "+ap=0.25", "data=shapes") == 0
    manifest = Manifest.load(tmp_path / "s")
    assert [job.swept for job in manifest.jobs] == [
        ("model=r18", "schedule.lr=0.01"),
        ("model=r18", "schedule.lr=0.005"),
        ("model=mnv2", "schedule.lr=0.01"),
        ("model=mnv2", "schedule.lr=0.005"),
    ]
    assert manifest.fixed == ("+ap=0.25", "data=shapes")
    for job in manifest.jobs:
        assert (job.state, job.exit_code, job.ap, job.attempts) == ("done", 0, 0.25, 1)
        assert (tmp_path / "s" / job.folder / "metrics.json").is_file()
        assert "=" not in job.folder and job.values["model"] in job.folder
    assert not [path for path in (tmp_path / "s").rglob("*") if "=" in path.name]


def test_what_is_unfinished_runs_again_and_nothing_else(
    sweep: Sweep,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four jobs: the second crashes, Ctrl-C comes in the third; then 2, 3 and 4 run."""
    folder = tmp_path / "s"

    def interrupt() -> None:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    # The jobs differ in a list of values; the third waits.
    words = ("+crash=false,true,no,never", "+wait=true")
    first_waits = JOB.read_text().replace('words.get("wait") == "true"', 'words["crash"] == "no"')
    (tmp_path / "job.py").write_text(first_waits)
    monkeypatch.setattr(
        runner,
        "train_command",
        lambda words: [sys.executable, "job.py", *(word.lstrip("+") for word in words)],
    )
    thread = threading.Thread(target=_when, args=(folder, "003", interrupt))
    thread.start()
    assert sweep(*words) == 128 + signal.SIGINT
    thread.join()
    assert states(folder) == ["done", "failed", "stopped", "waiting"]
    assert "stopped by SIGINT" in capsys.readouterr().out
    before = (folder / "calls.txt").read_text().splitlines()
    assert [line.split()[1][:3] for line in before] == ["001", "002", "003"]

    (folder / "mended").touch()
    assert sweep("sweep.resume=s") == 0
    after = (folder / "calls.txt").read_text().splitlines()[len(before) :]
    # The one that was stopped goes on from its checkpoint, the one that crashed starts anew.
    assert [(line.split()[0], line.split()[1][:3]) for line in after] == [
        ("new", "002"),
        ("resume", "003"),
        ("new", "004"),
    ]
    assert states(folder) == ["done"] * 4
    assert list(folder.glob("002_*.attempt1/config.yaml"))  # nothing of it is lost
    assert sweep(*words) == 0  # the same command: nothing is left to do
    assert "nothing to run" in capsys.readouterr().out
    assert len((folder / "calls.txt").read_text().splitlines()) == len(before) + len(after)


def _when(folder: Path, number: str, then: Callable[[], None]) -> None:
    calls = folder / "calls.txt"
    until = time.monotonic() + 300
    while time.monotonic() < until:
        if calls.exists() and number in calls.read_text():
            then()
            return
        time.sleep(0.02)


def test_a_crash_does_not_stop_the_others(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep("+crash=true,false") == 1
    assert states(tmp_path / "s") == ["failed", "done"]
    assert Manifest.load(tmp_path / "s").jobs[0].exit_code == 3
    said = capsys.readouterr().out
    assert "exit code 3, it broke; see" in said and "1 of 2 jobs failed" in said
    assert "\njob 1 failed: it broke\n" in said  # below the table, where nobody scrolls past it
    (log,) = (tmp_path / "s").glob("001_*.log")
    assert log.read_text() == "it broke\n"


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("model tiny\nerror: data.root=x is missing\nsee you\n", "error: data.root=x is missing"),
        ("Traceback\n  File x\nKeyError: 'a'\n\n", "KeyError: 'a'"),
        ("error: first\nerror: \x1b[31mlast\n", r"error: \x1b[31mlast"),
        ("x" * 100_000 + "\nerror: the end\n", "error: the end"),
        ("", "it printed nothing"),
    ],
)
def test_why_a_job_failed_is_in_its_log(tmp_path: Path, log: str, says: str) -> None:
    (tmp_path / "job.log").write_text(log)
    assert why(tmp_path / "job.log") == says
    assert why(tmp_path / "none.log") == "no log: No such file or directory"


def test_the_end_is_a_table_files_and_a_plot(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep("+ap=0.2,0.4", "schedule.lr=0.001,0.01,0.1", "data=shapes") == 0
    rows = list(csv.DictReader((tmp_path / "s/summary.csv").open()))
    assert [row["AP"] for row in rows] == ["0.4000"] * 3 + ["0.2000"] * 3  # the best first
    assert rows[0]["schedule.lr"] == "0.001" and rows[0]["state"] == "done"
    lines = (tmp_path / "s/summary.md").read_text().splitlines()
    assert len(lines) == 8 and lines[0].startswith("| job | +ap | schedule.lr |")
    with Image.open(tmp_path / "s/summary.png") as picture:
        assert picture.width > picture.height > 100  # two panels beside each other
    said = capsys.readouterr().out
    assert re.search(r"^ job .* lr .* state ", said, re.M)
    assert "summary.csv" in said


def test_figures_are_summed_up_over_seeds(sweep: Sweep, tmp_path: Path) -> None:
    """Three seeds of two settings, of which one job fails; the spread is that of a sample."""
    folder = tmp_path / "s"
    folder.mkdir()
    aps = {("r18", 0): 0.2, ("r18", 1): 0.3, ("r18", 2): 0.4, ("mnv2", 0): 0.5, ("mnv2", 1): 0.5}
    manifest = Manifest(folder, ("model=r18,mnv2", "seed=0,1,2"), {}, ())
    for model in ("r18", "mnv2"):
        for seed in range(3):
            job = manifest.add([f"model={model}", f"seed={seed}"])
            ap = aps.get((model, seed))
            run = manifest.run_folder(job)
            run.mkdir()
            if ap is None:
                manifest.log_file(job).write_text("error: no | room\n")
                manifest.update(job, state="failed", exit_code=2)
                continue
            figures = {"AP": ap, "AP50": 2 * ap, "APs": None, "APm": "much"}
            (run / "metrics.json").write_text(json.dumps(figures))
            (run / "report.html").touch()
            manifest.update(job, state="done", exit_code=0, ap=ap)
    assert over_seeds(manifest) == [
        ["model", "runs", "AP", "AP50", "APs", "APm", "APl"],
        ["mnv2", "2", "0.5000 ± 0.0000", "1.0000 ± 0.0000", "", "", ""],
        ["r18", "3", "0.3000 ± 0.1000", "0.6000 ± 0.2000", "", "", ""],
    ]
    with StringIO() as text:
        write_report(manifest, Console(file=text, width=100), compared=True)
        said = text.getvalue()
    assert "over seeds" in said and "job 6 failed: error: no | room" in said
    assert "APl" not in said  # nobody has it
    page = (folder / "summary.md").read_text()
    assert "error: no \\| room" in page and "(comparison.html)" in page
    assert f"[{manifest.jobs[0].folder}]({manifest.jobs[0].folder}/report.html)" in page
    with Image.open(folder / "summary.png") as picture:
        assert picture.width < 700  # seeds have no panel
    rows = list(csv.DictReader((folder / "summary.csv").open()))
    assert rows[-1]["error"] == "error: no | room" and rows[0]["AP50"] == "1.0000"


def test_jobs_run_at_the_same_time(sweep: Sweep, tmp_path: Path) -> None:
    assert sweep("+ap=0.1,0.2,0.3", "+pause=2", "sweep.parallel=3") == 0
    spans = [json.loads(file.read_text()) for file in tmp_path.glob("s/*/span.json")]
    assert len(spans) == 3
    assert max(began for began, _ in spans) < min(ended for _, ended in spans)


def test_a_search_draws_prunes_and_goes_on(sweep: Sweep, tmp_path: Path) -> None:
    words = ["+ap=interval(0.1,0.9)", "model=r18,mnv2", "+epochs=6", "+pause=0.05"]
    assert sweep(*words, "sweep.search=optuna", "sweep.trials=4", "sweep.pruning=false") == 0
    jobs = Manifest.load(tmp_path / "s").jobs
    drawn = [float(job.values["+ap"]) for job in jobs]
    assert len(set(drawn)) == 4 and all(0.1 <= value <= 0.9 for value in drawn)
    assert [job.ap for job in jobs] == pytest.approx(drawn)
    assert {job.values["model"] for job in jobs} <= {"r18", "mnv2"}
    # More trials of the same search: the first four are known, not run again.
    assert sweep("sweep.resume=s", "sweep.trials=6") == 0
    later = Manifest.load(tmp_path / "s").jobs
    assert later[:4] == jobs and len(later) == 6
    study = search.Search(
        tmp_path / "s", parse_space(words, {}), seed=0, pruning=False, pruning_warmup=0
    ).study
    assert [trial.value for trial in study.trials] == pytest.approx([job.ap for job in later])


def test_hopeless_runs_are_given_up(sweep: Sweep, tmp_path: Path) -> None:
    words = ["+ap=range(9,0,-1)", "+epochs=30", "+pause=0.05", "sweep.search=optuna"]
    assert sweep(*words, "sweep.trials=9", "sweep.pruning_warmup=1", "sweep.seed=3") == 0
    jobs = Manifest.load(tmp_path / "s").jobs
    assert {job.state for job in jobs} == {"done", "pruned"}
    for place, job in enumerate(jobs):
        if job.state == "pruned":
            before = [float(one.values["+ap"]) for one in jobs[:place] if one.state == "done"]
            assert len(before) >= 3 and float(job.values["+ap"]) < median(before)
            rows = (tmp_path / "s" / job.folder / "metrics.csv").read_text().splitlines()
            assert len(rows) < 31  # it did not run to its end


def test_submitit_runs_jobs_too(sweep: Sweep, tmp_path: Path) -> None:
    words = ("+ap=0.1,0.2", "sweep.launcher=submitit_local", "sweep.parallel=2")
    assert sweep(*words, "sweep.slurm={timeout_min: 5}") == 0
    assert [job.ap for job in Manifest.load(tmp_path / "s").jobs] == [0.1, 0.2]


def test_slurm_without_sbatch_is_refused(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="no sbatch here"):
        sweep("+ap=0.1,0.2", "sweep.launcher=slurm")


def test_two_processes_do_not_work_on_one_sweep(sweep: Sweep, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    held = Lock(tmp_path / "s")
    with pytest.raises(UserError, match="another process works on this sweep"):
        Lock(tmp_path / "s")
    held.release()
    Lock(tmp_path / "s").release()


@pytest.mark.parametrize("resumed", [False, True])
def test_a_start_that_held_the_folder_later_runs_nothing_twice(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resumed: bool
) -> None:
    """Another start comes to its end after this one read the folder, and before it holds it."""
    words, folder = ("+ap=0.1,0.2", f"+crash={str(resumed).lower()}"), tmp_path / "s"
    if resumed:
        assert sweep(*words) == 1
        (folder / "mended").touch()

    class Late(Lock):
        def __init__(self, folder: Path) -> None:
            monkeypatch.setattr(manifest, "Lock", Lock)
            assert sweep(*words) == 0
            super().__init__(folder)

    monkeypatch.setattr(manifest, "Lock", Late)
    assert sweep(*(["sweep.resume=s"] if resumed else words)) == 0
    attempts = 1 + resumed
    assert [job.attempts for job in Manifest.load(folder).jobs] == [attempts] * 2
    assert len((folder / "calls.txt").read_text().splitlines()) == 2 * attempts


def test_another_sweep_that_took_the_folder_first_is_left_alone(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(Lock):
        def __init__(self, folder: Path) -> None:
            monkeypatch.setattr(manifest, "Lock", Lock)
            assert sweep("+ap=0.1,0.2") == 0
            super().__init__(folder)

    monkeypatch.setattr(manifest, "Lock", Late)
    with pytest.raises(UserError, match="holds another sweep"):
        sweep("+ap=0.3,0.4")
    assert [job.ap for job in Manifest.load(tmp_path / "s").jobs] == [0.1, 0.2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model=r18",), "nothing is swept"),
        (("model=r18,r19",), "r19"),
        (("schedul.lr=1,2",), "schedul"),
        (("schedule.lr=interval(0.1,0.2)",), "an interval has no list of values"),
        (("model=r18,mnv2", "run_dir=x"), "say sweep.dir=DIR"),
        (("model=r18,mnv2", "hydra/launcher=joblib"), "runs sweeps itself"),
        (("model=r18,mnv2", "sweep.launcher=cloud"), "give one of local, slurm"),
        (("model=r18,mnv2", "sweep.parallel=0"), "above 0"),
        (("model=r18,mnv2", "sweep.paralel=2"), "paralel"),
        (("seed=range(0,5000)",), "5000 jobs"),
        (("model=r18,mnv2", "--cfg=job"), "try it on a single run"),
        (("sweep=nothing",), "nothing"),
        (("model=r18,mnv2", "--config-dir", "none"), "--config-dir none: no such folder"),
        (("model=r18,mnv2", "--config-dir"), "--config-dir"),
        (
            ("model=r18,mnv2", "photos"),
            "photos: settings are given with their names; say data.root",
        ),
        (("model=r18,[",), "["),
    ],
)
def test_mistakes_are_one_line_before_anything_runs(
    sweep: Sweep, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        sweep(*words)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "s").exists()


def test_another_sweep_is_not_written_into(sweep: Sweep, tmp_path: Path) -> None:
    assert sweep("+ap=0.1,0.2") == 0
    with pytest.raises(UserError, match="holds another sweep"):
        sweep("+ap=0.1,0.3")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").touch()
    with pytest.raises(UserError, match="is not empty, and holds no sweep"):
        cli.sweep(["+ap=0.1,0.2", "sweep.dir=mine"])
    with pytest.raises(UserError, match="no such folder"):
        cli.sweep(["sweep.resume=elsewhere"])
    with pytest.raises(UserError, match=r"holds no manifest\.json"):
        cli.sweep(["sweep.resume=mine"])
    with pytest.raises(UserError, match="is a file; give a sweep's folder"):
        cli.sweep(["sweep.resume=mine/notes.txt"])
    with pytest.raises(UserError, match="leave other words out"):
        cli.sweep(["sweep.resume=s", "model=r18"])


def test_the_same_command_finds_its_folder_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sweep: Sweep
) -> None:
    for _ in range(2):
        assert cli.sweep(["+ap=0.1,0.2", "name=mine"]) == 0
    assert cli.sweep(["+ap=0.1,0.4", "name=mine"]) == 0
    assert len(list((tmp_path / "runs/mine").glob("sweep_*"))) == 2


def test_files_of_ones_own_are_swept_however_they_are_named(sweep: Sweep, tmp_path: Path) -> None:
    for group, text in (
        ("schedule", "lr: 0.5"),
        ("sweep", "defaults: [default]\nparams: {schedule: [mine, quick]}"),
    ):
        file = tmp_path / "it's, mine" / group / "mine.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(f"{text}\n")
    given = [
        ("--config-dir", "it's, mine", "schedule=mine,quick"),
        ("schedule=mine,quick", "--config-dir=it's, mine"),
        ("-cd", str(tmp_path / "it's, mine"), "schedule=mine,quick"),
        ("sweep=mine", "--config-dir", "it's, mine"),
    ]
    for number, words in enumerate(given):
        folder = tmp_path / str(number)
        with pytest.raises(SystemExit) as ended:
            cli.main([*words[:number], "-m", *words[number:], f"sweep.dir={folder}"])
        assert ended.value.code == 0
        jobs = Manifest.load(folder)
        assert [job.swept for job in jobs.jobs] == [("schedule=mine",), ("schedule=quick",)]
        assert cli.compose("train", [*jobs.fixed, "schedule=mine"])["schedule"]["lr"] == 0.5
        calls = (folder / "calls.txt").read_text()
        assert cli.sweep([*words, f"sweep.dir={folder}"]) == 0  # finished, from another start
        assert (folder / "calls.txt").read_text() == calls
        for job in jobs.jobs:  # which are told, too
            told = json.loads((folder / job.folder / "config.yaml").read_text())
            assert f"{tmp_path}/it\\'s, mine" in told["hydra.searchpath"]
        # Whose folder it is, nobody knows.
        with pytest.raises(UserError, match="give the command that began the sweep again"):
            cli.sweep([f"sweep.resume={folder}"])


def test_a_learning_curve_is_one_of_shares_of_the_images() -> None:
    settings = cli._settings(["sweep=learning_curve"])
    words = [words for (words,) in parse_space(["data=shapes"], settings["params"]).grid()]
    configs = [cli.compose("train", ["data=shapes", word]) for word in words]
    assert [config["data"]["train_share"] for config in configs] == [0.1, 0.25, 0.5, 1.0]


OF_DATA = {"default", "learning_curve"}
ABLATIONS = {file.stem for file in (cli.config_dir() / "sweep").iterdir()} - OF_DATA


@pytest.mark.parametrize("name", sorted(ABLATIONS))
def test_the_papers_ablations_compose(name: str) -> None:
    settings = cli._settings([f"sweep={name}"])
    space = parse_space(["data=shapes", "seed=0"], settings["params"], settings["cases"])
    jobs = space.grid()
    assert len(jobs) >= 2
    boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0], [0.0, 0.0, 128.0, 100.0]])
    images = Images.pad([torch.zeros(3, 128, 128, dtype=torch.uint8)], 32)
    losses = set()
    for words in jobs:
        config = cli.compose("train", ["model=r18", "model.backbone.weights=null", *words])
        settings = {k: v for k, v in config["model"].items() if k != "_target_"}
        torch.manual_seed(0)
        detector = build_fcos(num_classes=2, **settings)
        points = detector.grid(images)
        prediction = detector(images)
        assignment = detector.assign(points, [Target(boxes, torch.tensor([0, 1]))], prediction)
        loss = detector.loss(prediction, assignment, points).total
        loss.backward()
        losses.add(round(float(loss.detach()), 6))
        for parameter_name, parameter in detector.named_parameters():
            assert parameter.grad is not None or not parameter.requires_grad, parameter_name
    assert len(losses) > 1  # the choice makes a difference


def test_folder_names_are_plain() -> None:
    name = folder_name(7, ("model=r18", "model.fpn.levels=[3,4]", "+x='a b'"))
    assert name == "007_model-r18_model.fpn.levels-3-4_x-a-b"
    assert len(folder_name(1, ["key=" + "v" * 300])) <= 120


@pytest.mark.slow
def test_a_sweep_of_two_device_runs_trains_each_once(tmp_path: Path) -> None:
    """Lightning's launcher would hand ``-m`` on to the second rank of each job."""
    words = [
        *("experiment=quickstart", "data.train_images=8", "data.val_images=4", "data.image_px=64"),
        *("data.shorter_side=64", "data.longer_side=64", "data.batch_size=4"),
        *("model.fpn.channels=16", "model.head.num_convs=1", "callbacks.progress=null"),
        *("trainer=ddp_sim", "schedule.max_epochs=1", "schedule.lr=0.01,0.005"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "fcos_lightning.cli.train", "-m", *words, "sweep.dir=s"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "s/manifest.json").read_text())
    assert [job["state"] for job in manifest["jobs"]] == ["done", "done"]
    assert len(list(tmp_path.glob("s/*/config.yaml"))) == 2  # one run for each job
    for log in tmp_path.glob("s/*.log"):
        assert log.read_text().count("2 device(s)") == 1

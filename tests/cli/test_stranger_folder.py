"""``resume=`` of a run folder that came from somewhere: nothing but what a run is made of."""

import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tests.cli.running import SMALL, Command, Result

from fcos_lightning.runs.objects.own_runs import remember
from fcos_lightning.storage.run_folder import RunFolder

#: Stopped in its sixth step of six, as a run folder is that somebody goes on with.
WORDS = (
    *SMALL,
    "schedule.max_epochs=2",
    "checkpoint.every_n_steps=1",
    "callbacks.previews=null",
    "trainer.accelerator=cpu",
)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that can go on."""
    import subprocess

    folder = tmp_path_factory.mktemp("begun")
    own = ("+callbacks.end._target_=interruptions.AtStep", "+callbacks.end.step=5")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fcos_lightning.cli.train", *WORDS, *own, "run_dir=run"),
            "trusted_packages=[interruptions]",
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 9, done.stderr
    return folder / "run"


@pytest.fixture
def run(begun: Path, tmp_path: Path) -> Path:
    """A copy, in another place than it began."""
    return Path(shutil.copytree(begun, tmp_path / "run"))


def change(run: Path, how: Callable[[dict[str, Any]], object]) -> None:
    """Edit its configuration; the callback that stopped it goes."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["callbacks"].pop("end", None)
    how(config)
    (run / "config.yaml").write_text(yaml.safe_dump(config))


def refused(command: Command, run: Path, *words: str) -> str:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    result = command("train", f"resume={run}", *words)
    assert_one_line(result)
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    changed = {
        path.name for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    }
    assert changed <= {name for name in changed if name.startswith("events.")}  # TensorBoard's
    return result.err


def assert_one_line(result: Result) -> None:
    assert result.code == 2, (result.out, result.err)
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in result.err, result.err


def test_it_goes_on_where_it_is_now(command: Command, run: Path, begun: Path) -> None:
    before = sorted(path.name for path in begun.rglob("*"))
    change(run, lambda config: None)
    result = command("train", f"resume={run}")
    assert result.code == 0, result.err
    assert "dirpath has changed" not in result.err  # its best checkpoint is still known
    last = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 6
    assert last["fcos"]["data_choice"] == "shapes"  # not what the command line would have chosen
    (paths,) = [
        value for key, value in last["callbacks"].items() if key.startswith("ModelCheckpoint")
    ]
    assert paths["best_model_path"] == f"{run}/checkpoints/best.ckpt"
    assert sorted(path.name for path in begun.rglob("*")) == before


DOORS: dict[str, dict[str, Any]] = {
    "a program": {"_target_": "fcos_lightning.sweeps.jobs.run_command", "log": "MARK"},
    "a shell": {"_target_": "os.system", "_args_": ["touch MARK"]},
    "a pickle": {"_target_": "torch.load", "f": "x", "weights_only": False},
    "a hub": {"_target_": "torch.hub.load", "repo_or_dir": "x", "source": "local"},
    "a file written": {"_target_": "torch.save", "obj": 1, "f": "MARK"},
    "a package of mine": {"_target_": "interruptions.AtStep", "step": 1},
    "looked up": {"_target_": "${oc.env:NAMED}", "_args_": ["touch MARK"]},
    "created": {"a": "${oc.create:{_target_: os.system, _args_: [touch MARK]}}"},
}


@pytest.mark.parametrize("name", DOORS)
def test_its_configuration_calls_nothing_else(
    command: Command,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    part = "logger" if name == "a shell" else "callbacks"
    monkeypatch.setenv("NAMED", "os.system")
    mark = tmp_path / "mark"
    node = yaml.safe_load(yaml.safe_dump(DOORS[name]).replace("MARK", str(mark)))

    def plant(config: dict[str, Any]) -> None:
        config["trusted_packages"] = ["os", "interruptions", "torch", "fcos_lightning"]
        config[part]["x"] = node

    change(run, plant)
    refused(command, run)
    assert not mark.exists()


def test_what_it_needs_of_the_users_own_is_said_on_the_command_line(
    command: Command, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    seen = {"_target_": "interruptions.Seen", "folder": str(run)}
    change(run, lambda config: config["callbacks"].update(x=seen))
    said = refused(command, run)
    assert "callbacks.x._target_=interruptions.Seen: interruptions is not trusted" in said
    assert "add trusted_packages=[interruptions] to the command line" in said
    result = command("train", f"resume={run}", "trusted_packages=[interruptions]")
    assert result.code == 0, result.err
    assert (run / "seen0.txt").is_file()


def test_a_run_of_ones_own_goes_on_in_its_place_without_that_word(
    command: Command, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    seen = {"_target_": "interruptions.Seen", "folder": str(run)}
    change(run, lambda config: config["callbacks"].update(x=seen))
    remember(RunFolder(run), ("interruptions",))
    moved = Path(shutil.copytree(run, tmp_path / "moved"))
    assert "interruptions is not trusted" in refused(command, moved)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_STATE_HOME", str(tmp_path / "of somebody else"))
        assert "interruptions is not trusted" in refused(command, run)
    result = command("train", f"resume={run}")
    assert result.code == 0, result.err
    assert (run / "seen0.txt").is_file()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("callbacks.best.dirpath", "elsewhere"),
        ("callbacks.last.folder", "elsewhere"),
        ("callbacks.guard.folder", "RUN/../elsewhere"),
        ("logger.csv.folder", "elsewhere"),
        ("trainer.default_root_dir", "~/elsewhere"),
        ("logger.tensorboard.save_dir", "s3://bucket/elsewhere"),
    ],
)
def test_it_writes_elsewhere_only_where_the_command_line_says_so(
    command: Command, run: Path, tmp_path: Path, key: str, value: str
) -> None:
    value = value.replace("RUN", str(run))
    parts = key.split(".")
    change(run, lambda config: _set(config, parts, value))
    said = refused(command, run)
    assert f"{key} is " in said and ", outside of the run folder" in said
    assert f"++{key}='{value}'" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def _set(tree: dict[str, Any], parts: list[str], value: Any) -> None:
    for part in parts[:-1]:
        tree = tree[part]
    tree[parts[-1]] = value


def test_a_place_that_is_said_again_is_written_to(
    command: Command, run: Path, tmp_path: Path
) -> None:
    change(run, lambda config: _set(config, ["logger", "csv", "folder"], "elsewhere"))
    result = command("train", f"resume={run}", "++logger.csv.folder='elsewhere'")
    assert result.code == 0, result.err
    assert (tmp_path / "elsewhere/metrics.csv").is_file()


def test_nothing_is_fetched_or_read_for_weights_that_it_has(
    command: Command, run: Path, tmp_path: Path
) -> None:
    """Nor is anything logged where it would not have to be: ``++logger.NAME=null``."""

    def change_both(config: dict[str, Any]) -> None:
        config["model"]["backbone"]["weights"] = str(tmp_path / "nothing.pth")
        config["logger"]["away"] = {"_target_": "lightning.pytorch.loggers.NeptuneLogger"}

    change(run, change_both)
    result = command("train", f"resume={run}", "++logger.away=null")
    assert result.code == 0, result.err


@pytest.mark.parametrize("name", ["checkpoints", "metrics.csv"])
def test_a_link_out_of_it_is_not_written_through(
    command: Command, run: Path, tmp_path: Path, name: str
) -> None:
    change(run, lambda config: config["callbacks"].update(last=None, best=None))
    (run / name).rename(tmp_path / "linked")
    (run / name).symlink_to(tmp_path / "linked")
    before = {path: path.read_bytes() for path in tmp_path.glob("linked*") if path.is_file()}
    assert f"{name} is a link to {tmp_path}/linked" in refused(command, run)
    assert before == {path: path.read_bytes() for path in before}


class Payload:
    """What a pickle of it calls when it is read."""

    def __init__(self, function: str, *args: Any) -> None:
        self.called = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        module, _, name = self.called[0].rpartition(".")
        return getattr(__import__(module, fromlist=[name]), name), self.called[1]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that a reader would have to import; being imported leaves a mark."""
    (tmp_path / "strange.py").write_text(
        f"open({str(tmp_path / 'mark')!r}, 'a').close()\n"
        f"def touch(): open({str(tmp_path / 'mark')!r}, 'a').close()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "mark"


@pytest.mark.parametrize(
    ("place", "function"),
    [
        ("", "os.system"),
        ("", "strange.touch"),
        ("callbacks", "strange.touch"),
        ("optimizer_states", "strange.touch"),
        ("fcos", "strange.touch"),
    ],
)
def test_its_checkpoint_runs_nothing(
    command: Command, run: Path, module: Path, place: str, function: str
) -> None:
    """Neither a function that is known to be dangerous nor one that nobody knows."""
    change(run, lambda config: None)
    file = run / "checkpoints/last.ckpt"
    content = torch.load(file, weights_only=True)
    payload = Payload(function, *([f"touch {module}"] if function == "os.system" else []))
    if isinstance(content.get(place), list):
        content[place].append(payload)
    else:
        (content[place] if place else content)["x"] = payload
    torch.save(content, file)
    module.unlink(missing_ok=True)  # this process has imported it to write it
    sys.modules.pop("strange", None)
    refused(command, run)
    assert not module.exists() and "strange" not in sys.modules


def test_lightning_reads_it_by_our_reader_whatever_it_is_asked(
    tmp_path: Path, module: Path
) -> None:
    from fcos_lightning.errors import UserError
    from fcos_lightning.training.checkpoint_io import AtomicCheckpointIO

    torch.save({"x": Payload("os.system", f"touch {module}")}, tmp_path / "last.ckpt")
    for weights_only in (None, True, False):
        with pytest.raises(UserError, match="nothing in it was run"):
            AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt", None, weights_only)
    assert not module.exists()


def test_training_asks_lightning_for_weights_only(
    command: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second lock: should the reader of checkpoints ever not be ours."""
    import lightning as L

    asked: list[object] = []
    fit = L.Trainer.fit

    def noted(self: L.Trainer, *args: Any, **options: Any) -> None:
        asked.append(options.get("weights_only"))
        fit(self, *args, **options)

    monkeypatch.setattr(L.Trainer, "fit", noted)
    change(run, lambda config: None)
    assert command("train", f"resume={run}").code == 0
    assert asked == [True]


def broken(run: Path) -> dict[str, tuple[Callable[[Any], object], str]]:
    """Checkpoints that are plain data of another kind than a run goes on from."""

    def optimizer(content: Any) -> Any:
        return content["optimizer_states"][0]

    return {
        "weights": (lambda c: c["state_dict"].popitem(), "Error(s) in loading state_dict"),
        "average": (
            lambda c: c.update(current_model_state=5),
            "Expected state_dict to be dict-like",
        ),
        "loops": (lambda c: c.pop("loops"), "loops.fit_loop is None"),
        "steps": (
            lambda c: c["loops"]["fit_loop"]["epoch_progress"]["total"].update(ready="x"),
            "ready is 'x', not a number",
        ),
        "schedule": (
            lambda c: c["lr_schedulers"][0].update(lr_lambdas=[{"x": 1}] * 6),
            "lr_schedulers",
        ),
        "moments": (
            lambda c: optimizer(c)["state"][0].update(exp_avg=torch.zeros(1)),
            "state.0 has another form than its parameter",
        ),
        "no moments": (
            lambda c: [state.pop("exp_avg") for state in optimizer(c)["state"].values()],
            "KeyError: 'exp_avg'",
        ),
        "parameters": (
            lambda c: optimizer(c)["param_groups"][0]["params"].pop(),
            "params is",
        ),
        "files": (
            lambda c: next(
                state for key, state in c["callbacks"].items() if key.startswith("ModelCheckpoint")
            ).update(best_model_path=f"{run}/checkpoints/../../victim"),
            "which leads elsewhere",
        ),
        "log": (lambda c: c["fcos_logged"].update(csv_rows="x"), "fcos_logged"),
        "version": (lambda c: c.update({"pytorch-lightning_version": "x"}), "Invalid version"),
    }


@pytest.mark.parametrize("name", broken(Path()))
def test_a_checkpoint_that_is_another_runs_is_one_line(
    command: Command, run: Path, name: str
) -> None:
    change(run, lambda config: None)
    file = run / "checkpoints/last.ckpt"
    content = torch.load(file, weights_only=True)
    how, said = broken(run)[name]
    how(content)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    file.write_bytes(buffer.getvalue())
    result = command("train", f"resume={run}")
    assert_one_line(result)
    assert said in result.err and str(file) in result.err


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seed", "x", "seed=x: give a whole number"),
        ("seed", -1, "seed=-1"),
        ("trainer", 5, "trainer=5: give settings"),
        ("callbacks", [1], "callbacks=[1]: give settings or null"),
        ("callbacks.x", 5, "callbacks.x: give a callback, as +callbacks.x._target_="),
        ("callbacks.best._target_", [], "callbacks.best._target_"),
        ("logger.tensorboard.name", [1], "logger.tensorboard.name=[1]: give text or null"),
        ("schedule", {"a": 1}, "schedule._target_ gives a dict"),
        ("schedule.reference_batch", "x", "schedule.reference_batch=x: give a whole number"),
        ("model.head.num_convs", "x", "model.head.num_convs=x: give a whole number"),
        ("model.loss.focal_gamma", "x", "model.loss.focal_gamma=x: give a number"),
        ("model.decoder.nms_iou", "x", "model.decoder.nms_iou=x: give a number"),
        ("data.batch_size", [4], "data.batch_size=[4]: give a whole number"),
        ("data.num_workers", "x", "data.num_workers=x"),
        ("trainer.val_check_interval", "x", "val_check_interval"),
        ("trainer._target_", "torch.optim.SGD", "trainer"),
    ],
)
def test_a_setting_of_another_kind_is_named(
    command: Command, run: Path, key: str, value: Any, said: str
) -> None:
    change(run, lambda config: _set(config, key.split("."), value))
    assert said in refused(command, run)


@pytest.mark.parametrize("key", ["name", "seed", "model", "data", "schedule", "trainer"])
def test_a_setting_that_is_missing_is_named(command: Command, run: Path, key: str) -> None:
    change(run, lambda config: config.pop(key))
    assert f"{key} is missing from the configuration" in refused(command, run)


def test_a_checkpoint_names_no_class_and_no_file_of_settings(
    command: Command, run: Path, tmp_path: Path
) -> None:
    """What is called for its data stands in our own files."""
    content = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    content["fcos"]["data"]["_target_"] = "os.system"
    content["fcos"]["data"]["augmentation"] = {"_target_": "os.system"}
    torch.save(content, tmp_path / "target.ckpt")
    result = command("test", "ckpt=target.ckpt", "--cfg", "job")
    assert result.code == 0 and "os.system" not in result.out, result.err
    assert "_target_: fcos_lightning.data.ShapesDataModule" in result.out

    content["fcos"]["data"]["root"] = {"_target_": "os.system"}
    torch.save(content, tmp_path / "root.ckpt")
    result = command("test", "ckpt=root.ckpt")
    assert_one_line(result)
    assert "hold root, which is no plain value" in result.err

    for number, choice in enumerate(("../schedule/1x", "/etc/passwd", "..", "", None, "nothing")):
        content["fcos"]["data_choice"] = choice
        torch.save(content, tmp_path / f"choice{number}.ckpt")
        result = command("test", f"ckpt=choice{number}.ckpt")
        assert_one_line(result)
        assert "it does not say which data" in result.err

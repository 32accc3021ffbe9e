"""Lightning's callbacks: each works or is refused, and best.ckpt is what it is called."""

import inspect
from pathlib import Path
from typing import Any

import lightning.pytorch.callbacks as kinds
import numpy as np
import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from fcos_lightning.errors import UserError
from fcos_lightning.runs.options.callbacks import REFUSED, WORK, check_callbacks
from fcos_lightning.runs.options.checkpoints import FIGURES, MODEL_CHECKPOINT, best_keeper
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.structures import GroundTruth

RUN = RunFolder(Path("run").absolute())
HOME = "lightning.pytorch.callbacks"
BEST = {
    "_target_": f"{HOME}.ModelCheckpoint",
    "dirpath": str(RUN.checkpoints),
    "filename": "best",
    "monitor": "val/AP",
    "mode": "max",
    "enable_version_counter": False,
}
LOOK = {"monitor": "val/AP", "mode": "max"}
LAST = {
    "_target_": "fcos_lightning.training.callbacks.keep_last.KeepLast",
    "folder": str(RUN.checkpoints),
}


def truth(areas_px: tuple[float, ...] = (100.0, 5000.0, 20000.0)) -> GroundTruth:
    number = len(areas_px)
    return GroundTruth(
        image_ids=np.array([1]),
        file_names=np.array(["a.jpg"]),
        sizes_hw=np.array([[300, 300]]),
        first_box=np.array([0, number]),
        boxes_xyxy=np.tile(np.array([[1.0, 1.0, 9.0, 9.0]]), (number, 1)),
        labels=np.zeros(number, dtype=np.int64),
        ignored=np.zeros(number, dtype=bool),
        areas_px=np.array(areas_px),
        class_names=("a",),
        category_ids=(1,),
    )


def check(areas_px: tuple[float, ...] = (100.0, 5000.0, 20000.0), **nodes: Any) -> None:
    nodes = {"best": BEST, "last": LAST, **nodes}
    check_callbacks(nodes, RUN, (), truth(areas_px), "coco")


def refused(said: str, **nodes: Any) -> None:
    with pytest.raises(UserError, match=said) as caught:
        check(**nodes)
    assert "\n" not in str(caught.value)


def test_every_callback_of_lightning_was_looked_at() -> None:
    assert sorted((*WORK, *REFUSED)) == sorted(kinds.__all__)


def test_every_option_of_model_checkpoint_was_looked_at() -> None:
    assert set(MODEL_CHECKPOINT) == set(inspect.signature(ModelCheckpoint).parameters)


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_run_can_work_with_is_refused(name: str) -> None:
    refused(f"no run can work with {name}", x={"_target_": f"{HOME}.{name}"})


def test_ours_and_their_absence_are_fine() -> None:
    check()
    check(ema=None, x={"_target_": f"{HOME}.LearningRateMonitor"})
    check(best=None, mine=BEST)  # by what it does, not by its name


@pytest.mark.parametrize(
    ("option", "value", "fine"),
    [
        *(("monitor", figure, True) for figure in FIGURES if "mAP" not in figure),
        *(("monitor", other, False) for other in ("train/loss", "val/loss", "AP", None)),
        *(("mode", mode, mode == "max") for mode in ("min", "max")),
        *(("save_top_k", number, number == 1) for number in (0, 1, 2, -1)),
        *(("save_last", value, value in (None, False)) for value in (None, False, True, "link")),
        *(("save_weights_only", value, True) for value in (True, False)),
        *(("every_n_epochs", number, number in (None, 1)) for number in (None, 0, 1, 2)),
        *(("every_n_train_steps", number, not number) for number in (None, 0, 10)),
        *(("save_on_train_epoch_end", value, not value) for value in (None, False, True)),
        *(("filename", name, name == "best") for name in ("best", "{epoch}", "last", None)),
        ("dirpath", "elsewhere", False),
        ("dirpath", None, False),
        ("verbose", True, False),
        ("save_on_exception", True, False),
        ("enable_version_counter", True, False),
        ("train_time_interval", {"minutes": 1}, False),
        ("auto_insert_metric_name", False, True),
    ],
)
def test_the_best_is_the_best_or_nothing_is_trained(option: str, value: Any, fine: bool) -> None:
    node = {**BEST, option: value}
    if fine:
        check(best=node)
    else:
        refused(f"callbacks.best.{option}=", best=node)
        if option not in ("filename", "dirpath"):
            refused(f"callbacks.keep.{option}=", best=None, keep=node)


def test_left_out_options_are_judged_as_lightning_would_fill_them_in() -> None:
    refused("callbacks.best.mode=min", best={k: v for k, v in BEST.items() if k != "mode"})
    refused(
        "callbacks.best.enable_version_counter=true",
        best={k: v for k, v in BEST.items() if k != "enable_version_counter"},
    )


def test_there_is_one_that_keeps_the_best_and_one_the_last() -> None:
    refused("none of them keeps best.ckpt", best=None)
    refused("none of them keeps last.ckpt", last=None)
    refused("callbacks.second: callbacks.best writes best.ckpt too", second=BEST)


@pytest.mark.parametrize("dirpath", [None, str(RUN.checkpoints), "elsewhere"])
def test_a_further_one_keeps_what_it_likes_under_other_names(dirpath: str | None) -> None:
    more = {"_target_": f"{HOME}.ModelCheckpoint", "dirpath": dirpath, "save_top_k": 3}
    check(more=more, third={**more, "filename": "{step}", "monitor": "train/loss"})
    # Lightning tells them by what they look at.
    refused("to Lightning it is the same as callbacks.best", more={**more, **LOOK})
    keep = {"_target_": "fcos_lightning.training.callbacks.keep_more.KeepMore", "dirpath": dirpath}
    check(more=keep, third={**keep, "filename": "{step}"})
    refused("callbacks.third: to Lightning it is the same as callbacks.more", more=keep, third=keep)
    for option, value in (("save_last", True), ("filename", "last")):
        if dirpath == "elsewhere":
            check(more={**more, option: value})
        else:
            refused(f"callbacks.more.{option}=", more={**more, option: value})
    lost = {"_target_": f"{HOME}.OnExceptionCheckpoint", "dirpath": str(RUN.checkpoints)}
    check(lost=lost)
    refused("callbacks.lost.filename=best", lost={**lost, "filename": "best"})


def test_figures_of_what_the_split_has_not() -> None:
    small = {**BEST, "monitor": "val/APs"}
    check(best=small)
    refused("callbacks.best.monitor=val/APs", best=small, areas_px=(5000.0,))
    refused("callbacks.best.monitor=val/mAP_area", best={**BEST, "monitor": "val/mAP_area"})
    check(areas_px=())  # no box at all: the last weights are kept
    stop = {"_target_": f"{HOME}.EarlyStopping", "monitor": "val/AP", "mode": "max"}
    check(stop=stop)
    refused("callbacks.stop.monitor=val/AP", stop=stop, areas_px=())


def test_stopping_early_looks_in_the_right_direction() -> None:
    stop = {"_target_": f"{HOME}.EarlyStopping", "monitor": "val/AP"}
    refused("callbacks.stop.mode=min", stop=stop)
    refused("callbacks.stop.monitor=val/loss", stop={**stop, "monitor": "val/loss"})
    check(stop={**stop, "monitor": "train/loss"})


@pytest.mark.parametrize(
    ("option", "value", "fine"),
    [
        *(("patience", number, number >= 0) for number in (-1, 0, 10)),
        *(("min_delta", number, number >= 0) for number in (-0.1, 0.0, 0.01)),
        ("min_delta", float("nan"), False),
    ],
)
def test_stopping_early_needs_a_patience(option: str, value: float, fine: bool) -> None:
    stop = {"_target_": f"{HOME}.EarlyStopping", "monitor": "val/AP", "mode": "max", option: value}
    check(stop=stop) if fine else refused(f"callbacks.stop.{option}={value}: give 0 or", stop=stop)


@pytest.mark.parametrize(
    "target", [f"{HOME}.EMAWeightAveraging", "fcos_lightning.training.callbacks.ema.EMA"]
)
def test_an_average_keeps_a_share(target: str) -> None:
    for decay in (0, 0.5, 0.9999):
        check(mean={"_target_": target, "decay": decay})
    for decay in (-1, 1, 1.0, 2, float("nan")):
        refused(f"callbacks.mean.decay={decay}: is", mean={"_target_": target, "decay": decay})


def test_weights_are_averaged_once() -> None:
    average = {"_target_": f"{HOME}.EMAWeightAveraging"}
    check(ema=average)
    refused("callbacks.x: callbacks.ema averages the weights already", ema=average, x=average)


def test_the_keeper_is_found_among_others() -> None:
    options = {key: value for key, value in BEST.items() if key != "_target_"}
    best, other = ModelCheckpoint(**options), ModelCheckpoint(dirpath=RUN.checkpoints)  # type: ignore[arg-type]
    assert best_keeper([other, best], RUN) is best

"""A run that is left at any place, and more than once, comes to what one comes to that is not."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from tests.training.interrupted_runs import Place, go

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from interrupting.compare import differences

#: How a run may measure and end.
KINDS: dict[str, tuple[str, ...]] = {
    "epochs": ("checkpoint.every_n_steps=2",),
    "half epochs": ("trainer.val_check_interval=2", "checkpoint.every_n_steps=1"),
    "each second epoch": ("trainer.check_val_every_n_epoch=2", "schedule.max_epochs=3"),
    "steps that end an epoch": ("schedule.max_epochs=null", "schedule.max_steps=6"),
    "steps that end within one": (
        *("schedule.max_epochs=null", "schedule.max_steps=5"),
        *("schedule.backbone_waits=2", "schedule.layer_lr_decay=0.7"),
    ),
    "steps that end before any measurement": (
        *("schedule.max_epochs=null", "schedule.max_steps=5"),
        "trainer.check_val_every_n_epoch=2",  # so that the end's is the best, whatever it is
    ),
    "stopped early": (
        "schedule.max_epochs=5",
        *("callbacks=early_stop", "callbacks.early_stop.patience=2"),
        "callbacks.early_stop.min_delta=1.0",
    ),
    "mixed images": (
        "augment=mosaic",
        "augment.weak_end=0.4",
        "schedule.max_epochs=3",
        "checkpoint.every_n_steps=1",
    ),
    "accumulated": ("trainer.accumulate_grad_batches=2", "checkpoint.every_n_steps=1"),
}

#: The places of docs/interruptions.md, in the order of a run. ``nth`` counts from where it went on.
TRANSITIONS: dict[str, tuple[str, list[Place]]] = {
    "within an epoch": ("epochs", [Place("on_train_batch_end", 3)]),
    "between epochs": ("each second epoch", [Place("on_train_epoch_start", 2)]),
    "before a validation": ("epochs", [Place("on_validation_start")]),
    "in a validation": ("epochs", [Place("on_validation_batch_end")]),
    "in the last validation, twice": (
        "epochs",
        [Place("on_validation_batch_end", 3), Place("on_validation_batch_end")],
    ),
    "in a validation within an epoch, then behind it": (
        "half epochs",
        [Place("on_validation_batch_end"), Place("on_validation_end", late=True)],
    ),
    "between a validation and the best checkpoint": (
        "epochs",
        [Place("on_validation_end", 2, late=True)],
    ),
    "between the best checkpoint and the end of the epoch": (
        "epochs",
        [Place("on_train_epoch_end", 2)],
    ),
    "behind the last epoch": ("epochs", [Place("on_train_epoch_end", 2, late=True)]),
    "at the end of training": ("epochs", [Place("on_train_end", late=True)]),
    "in the last validation of so many steps": (
        "steps that end an epoch",
        [Place("on_validation_batch_end", 3)],
    ),
    "in the measurement of the end within an epoch": (
        "steps that end within one",
        [Place("evaluate"), Place("evaluate", late=True)],
    ),
    "behind that measurement": (
        "steps that end before any measurement",
        [Place("copy_whole", late=True)],
    ),
    "while early stopping counts": (
        "stopped early",
        [Place("on_train_epoch_end", 2), Place("on_train_batch_end", 2)],
    ),
    "after early stopping": ("stopped early", [Place("evaluate")]),
    "in the report": ("epochs", [Place("evaluate"), Place("write_predictions")]),
    "within mixed images, then within whole ones": (
        "mixed images",
        [Place("on_train_batch_end", 2), Place("on_train_batch_end", 3)],
    ),
    "when all is done": (
        "epochs",
        [Place("print_table", late=True), Place("print_table", late=True)],
    ),
}


#: Those that are tried each time, as no simpler test meets them; the others are marked slow.
QUICK = (
    "within mixed images, then within whole ones",
    "in the last validation, twice",
    "in a validation within an epoch, then behind it",
    "between a validation and the best checkpoint",
    "behind the last epoch",
    "in the last validation of so many steps",
    "in the measurement of the end within an epoch",
    "while early stopping counts",
    "after early stopping",
    "in the report",
)

#: Hooks and functions at which a run may be left.
PLACES = (
    *("on_train_batch_start", "on_train_batch_end", "on_train_epoch_end", "on_train_end"),
    *("on_validation_start", "on_validation_batch_end", "on_validation_epoch_end"),
    *("on_validation_end", "on_fit_end"),
    *("evaluate", "copy_whole", "write_metrics", "write_predictions"),
)


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs that were left alone, made when they are asked for."""
    folder = tmp_path_factory.mktemp("whole")
    made: dict[str, Path] = {}

    class Made(dict[str, Path]):
        def __missing__(self, kind: str) -> Path:
            with pytest.MonkeyPatch.context() as monkeypatch:
                assert go(folder / kind, KINDS[kind], monkeypatch, None)
            self[kind] = folder / kind
            return self[kind]

    return Made(made)


@pytest.mark.parametrize(
    "transition",
    [pytest.param(one, marks=[] if one in QUICK else [pytest.mark.slow]) for one in TRANSITIONS],
)
def test_each_place(
    transition: str, wholes: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, places = TRANSITIONS[transition]
    cut = tmp_path / "cut"
    for place in places:
        assert not go(cut, KINDS[kind], monkeypatch, place), f"never came to {place}"
    assert go(cut, KINDS[kind], monkeypatch, None)
    assert differences(wholes[kind], cut) == []


def test_early_stopping_ends_a_run(wholes: dict[str, Path]) -> None:
    rows = (wholes["stopped early"] / "metrics.csv").read_text().splitlines()
    place = rows[0].split(",").index("epoch")
    # The first of five epochs is the best one, and two more are waited for.
    assert {row.split(",")[place] for row in rows[1:]} == {"0", "1", "2"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_chains_of_random_places(
    seed: int, wholes: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    kind, cut, left = chance.choice(list(KINDS)), tmp_path / "cut", []
    for _ in range(chance.randint(1, 6)):
        place = Place(chance.choice(PLACES), chance.choice((1, 1, 2, 3)), chance.random() < 0.5)
        if not go(cut, KINDS[kind], monkeypatch, place):
            left.append(place)
    assert go(cut, KINDS[kind], monkeypatch, None)
    assert differences(wholes[kind], cut) == [], (kind, left)

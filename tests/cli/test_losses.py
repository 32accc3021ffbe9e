"""The losses of the quickstart's first steps: a change of speed must not be one of results.

Recorded by `fcos-train experiment=quickstart trainer.max_steps=20 trainer.log_every_n_steps=1`.
A commit that moves the first three by more than 1e-4 records them anew and says why.
"""

import csv
import json
from pathlib import Path

import pytest
from tests.cli.running import Command

RECORDED = Path(__file__).with_name("quickstart_losses.json")


def test_twenty_steps_of_the_quickstart_lose_what_was_recorded(
    command: Command, tmp_path: Path
) -> None:
    run = command(
        "train",
        "experiment=quickstart",
        "trainer.max_steps=20",
        "trainer.log_every_n_steps=1",
        "trainer.limit_val_batches=1",
        "callbacks.progress=null",
        "callbacks.previews=null",
        "logger.tensorboard=null",
        "data.val_images=8",
        f"run_dir={tmp_path / 'run'}",
    )
    assert run.code == 0, run.err
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/cls"]]
    recorded = json.loads(RECORDED.read_text())
    assert len(rows) == len(recorded) == 20
    for step, (row, before) in enumerate(zip(rows, recorded, strict=True)):
        for name, value in before.items():
            # AdamW's first steps have a size that does not depend on the gradient's, so they blow
            # rounding up: by the fifth step 1e-7 has become 5e-4, by the tenth 5e-3.
            limit = 1e-4 if step < 3 else 3e-2
            assert float(row[name]) == pytest.approx(value, rel=limit), f"{name} of step {step}"

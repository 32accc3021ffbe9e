"""What is said of a path that is no run folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from fcos_lightning.errors import UserError
from fcos_lightning.runs.comparing.finished import check_finished
from fcos_lightning.runs.config.stored import load_config


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "long/checkpoints/last.ckpt",
            "is a checkpoint of a run, .* the run folder, .*/long$",
        ),
        ("long/metrics.json", "is a file of a run, and no folder; give the run folder, .*/long$"),
        ("notes.txt", "is a file; give a run folder"),
        ("nothing", "no such folder; give a run folder"),
    ],
)
def test_a_path_that_is_no_run_folder_is_told_by_what_it_is(
    tmp_path: Path, name: str, said: str
) -> None:
    for file in ("long/checkpoints/last.ckpt", "long/metrics.json", "long/config.yaml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "notes.txt").touch()
    path = tmp_path / name
    with pytest.raises(UserError, match=f"resume=.*: {said}"):
        load_config(path)
    with pytest.raises(UserError, match=said):
        check_finished([path, tmp_path / "long"])

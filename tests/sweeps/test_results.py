"""The tables of a sweep, as a terminal shows them."""

import json
from io import StringIO
from pathlib import Path

from rich.console import Console

from fcos_lightning.sweeps.manifest import Manifest
from fcos_lightning.sweeps.results import write_report


def test_no_figure_is_cut_where_a_terminal_is_narrow(tmp_path: Path) -> None:
    """Three swept keys and all figures are wider than 80 letters: words fold, and none is cut."""
    folder = tmp_path / "s"
    folder.mkdir()
    words = ("schedule.lr=0.005", "data.max_pixels=100000000", "seed=0,1")
    manifest = Manifest(folder, words, {}, ())
    names = ("AP", "AP50", "APs", "APm", "APl")
    for seed in range(2):
        job = manifest.add([*words[:2], f"seed={seed}"])
        manifest.run_folder(job).mkdir()
        figures = {name: 0.1111 * (at + 1) for at, name in enumerate(names)}
        (manifest.run_folder(job) / "metrics.json").write_text(json.dumps(figures))
        manifest.update(job, state="done", exit_code=0, ap=0.1111)
    with StringIO() as text:
        write_report(manifest, Console(file=text, width=80))
        said = text.getvalue()
    assert "…" not in said and max(map(len, said.splitlines()[:-1])) <= 80, said
    for figure in ("0.1111", "0.2222", "0.3333", "0.4444", "0.5555"):
        assert said.count(figure) == 3, said  # of two jobs, and their mean

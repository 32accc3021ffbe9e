"""What a sweep found: a table, files, a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fcos_lightning.printing import printable
from fcos_lightning.storage.replacing import replacing, write_whole
from fcos_lightning.sweeps.comparison import PAGE
from fcos_lightning.sweeps.manifest import Job, Manifest


def write_report(manifest: Manifest, console: Console, compared: bool = False) -> None:
    """Print the table; write ``summary.csv``, ``summary.md`` and ``summary.png`` beside it.

    Args:
        manifest: of the sweep.
        console: where to print.
        compared: whether ``comparison.html`` is there, to be named.
    """
    rows = _rows(manifest)
    # A terminal has no room for whole keys and folders; the files have both.
    table = Table(*(escape(printable(_short(key, rows[0]))) for key in rows[0][:-1]))
    for row in rows[1:]:
        table.add_row(*(escape(printable(cell)) for cell in row[:-1]))
    console.print(table)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_whole(text.getvalue(), manifest.folder / "summary.csv")
    write_whole(_markdown(rows), manifest.folder / "summary.md")
    drawn = plot(manifest, manifest.folder / "summary.png")
    files = "manifest.json, summary.csv, summary.md" + (", summary.png" if drawn else "")
    files += f", {PAGE}" if compared else ""
    console.print(
        f"sweep folder {manifest.folder}: {files}", soft_wrap=True, highlight=False, markup=False
    )


def _rows(manifest: Manifest) -> list[list[str]]:
    """Return heading and jobs, best AP first, those without AP last."""
    keys = list(dict.fromkeys(key for job in manifest.jobs for key in job.values))
    rows = [["job", *keys, "state", "AP", "minutes", "folder"]]
    for job in sorted(manifest.jobs, key=lambda job: (job.ap is None, -(job.ap or 0), job.number)):
        rows.append(
            [
                str(job.number),
                *(job.values.get(key, "") for key in keys),
                job.state if job.exit_code in (0, None) else f"{job.state} ({job.exit_code})",
                "" if job.ap is None else f"{job.ap:.4f}",
                f"{job.seconds / 60:.1f}",
                job.folder,
            ]
        )
    return rows


def _short(key: str, keys: Sequence[str]) -> str:
    """Return the last part of a key, unless another key has the same."""
    last = key.rsplit(".", 1)[-1]
    return last if sum(other.rsplit(".", 1)[-1] == last for other in keys) == 1 else key


def _markdown(rows: list[list[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines) + "\n"


def plot(manifest: Manifest, file: Path) -> bool:
    """Draw AP against each swept value, one panel for each key.

    Returns:
        Whether there was anything to draw.
    """
    jobs = [job for job in manifest.jobs if job.ap is not None]
    keys = list(dict.fromkeys(key for job in jobs for key in job.values))
    if not jobs or not keys:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(keys), 3.6), layout="constrained")
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    for key, panel in zip(keys, panels, strict=True):
        _panel(panel, key, jobs)
    panels[0].set_ylabel("AP")
    with replacing(file) as draft:
        figure.savefig(draft, format="png", dpi=120)
    return True


def _panel(panel: object, key: str, jobs: list[Job]) -> None:
    values = [job.values.get(key, "") for job in jobs]
    aps = [job.ap for job in jobs]
    axes: object = panel
    numbers = [_number(value) for value in values]
    if all(number is not None for number in numbers):
        axes.plot(numbers, aps, "o", alpha=0.7)  # type: ignore[attr-defined]
        chosen = sorted({number for number in numbers if number is not None})
        if chosen[0] > 0 and chosen[-1] >= 10 * chosen[0]:
            axes.set_xscale("log")  # type: ignore[attr-defined]
    else:
        words = list(dict.fromkeys(values))
        axes.plot([words.index(value) for value in values], aps, "o", alpha=0.7)  # type: ignore[attr-defined]
        axes.set_xticks(range(len(words)), words, rotation=20, ha="right")  # type: ignore[attr-defined]
        axes.set_xlim(-0.5, len(words) - 0.5)  # type: ignore[attr-defined]
    axes.set_xlabel(key)  # type: ignore[attr-defined]
    axes.grid(alpha=0.3)  # type: ignore[attr-defined]


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None

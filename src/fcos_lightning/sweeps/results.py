"""What a sweep found: a table, files, a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any
from urllib.parse import quote

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.storage.replacing import write_whole
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.sweeps.comparison import PAGE
from fcos_lightning.sweeps.course import FIGURES, measured
from fcos_lightning.sweeps.manifest import Job, Manifest
from fcos_lightning.sweeps.runner import why

#: So many different errors are printed.
_REASONS = 5
#: The key whose values are chance rather than a choice.
SEED = "seed"


def figures_of(manifest: Manifest, job: Job) -> dict[str, float | None]:
    """Return the figures of a job, as far as it came: AP, and of finished ones the others."""
    found = measured(manifest.run_folder(job))
    return {name: found.get(name) for name in FIGURES} | {"AP": job.ap}


def write_report(manifest: Manifest, console: Console, compared: bool = False) -> None:
    """Print the tables; write ``summary.csv``, ``summary.md`` and ``summary.png`` beside them.

    Args:
        manifest: of the sweep.
        console: where to print.
        compared: whether ``comparison.html`` is there, to be named.
    """
    rows, seeds = _rows(manifest), over_seeds(manifest)
    # A terminal has no room for whole keys, errors and folders; the files have all of them.
    _print(console, [row[:-2] for row in rows])
    _say_failed(manifest, console)
    if seeds:
        _print(console, seeds, "mean and standard deviation over seeds")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_whole(text.getvalue(), manifest.folder / "summary.csv")
    write_whole(_page(manifest, rows, seeds, compared), manifest.folder / "summary.md")
    drawn = plot(manifest, manifest.folder / "summary.png")
    files = "manifest.json, summary.csv, summary.md" + (", summary.png" if drawn else "")
    files += f", {PAGE}" if compared else ""
    console.print(
        f"sweep folder {manifest.folder}: {files}", soft_wrap=True, highlight=False, markup=False
    )


def _say_failed(manifest: Manifest, console: Console) -> None:
    """Say why jobs failed, each reason once; below the table, where nobody scrolls past it."""
    reasons: dict[str, list[str]] = {}
    for job in manifest.jobs:
        if job.state == "failed":
            reasons.setdefault(why(manifest.log_file(job)), []).append(str(job.number))
    for reason, numbers in list(reasons.items())[:_REASONS]:
        jobs = f"job {numbers[0]}" if len(numbers) == 1 else f"jobs {', '.join(numbers[:20])}"
        more = ", ..." if len(numbers) > 20 else ""
        line = printable(f"{jobs}{more} failed: {reason}", LONGEST_LINE)
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    if len(reasons) > _REASONS:
        console.print(f"and {len(reasons) - _REASONS} other errors, in summary.csv", markup=False)


def _print(console: Console, rows: list[list[str]], title: str | None = None) -> None:
    filled = [at for at, column in enumerate(zip(*rows[1:], strict=True)) if any(column)]
    rows = [[row[at] for at in filled] for row in rows]
    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    for key, *cells in zip(*rows, strict=True):
        # Where there are too many columns, words are folded and none is cut; figures stay whole.
        whole = max(map(len, " ".join(cells).split())) if key in FIGURES else None
        heading = escape(printable(_short(key, rows[0])))
        table.add_column(heading, overflow="fold", min_width=whole)
    for row in rows[1:]:
        table.add_row(*(escape(printable(cell)) for cell in row))
    console.print(table)


def _keys(jobs: Sequence[Job]) -> list[str]:
    return list(dict.fromkeys(key for job in jobs for key in job.values))


def _rows(manifest: Manifest) -> list[list[str]]:
    """Return heading and jobs, best AP first, those without AP last."""
    keys = _keys(manifest.jobs)
    rows = [["job", *keys, "state", *FIGURES, "minutes", "error", "folder"]]
    for job in sorted(manifest.jobs, key=lambda job: (job.ap is None, -(job.ap or 0), job.number)):
        found = figures_of(manifest, job)
        rows.append(
            [
                str(job.number),
                *(job.values.get(key, "") for key in keys),
                job.state if job.exit_code in (0, None) else f"{job.state} ({job.exit_code})",
                *("" if found[name] is None else f"{found[name]:.4f}" for name in FIGURES),
                f"{job.seconds / 60:.1f}",
                why(manifest.log_file(job)) if job.state == "failed" else "",
                job.folder,
            ]
        )
    return rows


def over_seeds(manifest: Manifest) -> list[list[str]]:
    """Return heading and rows of what the same settings gave with several seeds; none: no table.

    The spread is the standard deviation of a sample.
    """
    jobs = [job for job in manifest.jobs if job.ap is not None]
    keys = [key for key in _keys(jobs) if key != SEED]
    rows = [[*keys, "runs", *FIGURES]]
    for settings, same in _by_settings(jobs).items():
        if len(same) > 1:
            columns = [[figures_of(manifest, job)[name] for job in same] for name in FIGURES]
            values = dict(settings)
            shown = [values.get(key, "") for key in keys]
            rows.append([*shown, str(len(same)), *map(_with_spread, columns)])
    return rows if len(rows) > 1 else []


def _by_settings(jobs: Sequence[Job]) -> dict[tuple[tuple[str, str], ...], list[Job]]:
    """Put jobs together that differ in their seeds alone, the best mean first."""
    groups: dict[tuple[tuple[str, str], ...], list[Job]] = {}
    for job in jobs:
        settings = tuple((key, value) for key, value in job.values.items() if key != SEED)
        groups.setdefault(settings, []).append(job)
    return dict(sorted(groups.items(), key=lambda item: -mean(job.ap or 0 for job in item[1])))


def _with_spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    return f"{mean(known):.4f}" + (f" ± {stdev(known):.4f}" if len(known) > 1 else "")


def _short(key: str, keys: Sequence[str]) -> str:
    """Return the last part of a key, unless another key has the same."""
    last = key.rsplit(".", 1)[-1]
    return last if sum(other.rsplit(".", 1)[-1] == last for other in keys) == 1 else key


def _page(manifest: Manifest, rows: list[list[str]], seeds: list[list[str]], compared: bool) -> str:
    """Return ``summary.md``: the tables, with links to the report of each job and of all."""
    linked = [rows[0]]
    for row in rows[1:]:
        there = RunFolder(manifest.folder / row[-1]).report.is_file()
        linked.append(
            [*row[:-1], f"[{row[-1]}]({quote(row[-1])}/report.html)" if there else row[-1]]
        )
    text = _markdown(linked)
    if seeds:
        text += f"\nMean and standard deviation over seeds:\n\n{_markdown(seeds)}"
    if compared:
        text += f"\n[The best jobs held against each other]({PAGE})\n"
    return text


def _markdown(rows: list[list[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines) + "\n"


def plot(manifest: Manifest, file: Path) -> bool:
    """Draw AP against each swept value, one panel for each key.

    Jobs that differ in their seeds alone are one point, their mean, with a bar of one standard
    deviation to each side.

    Returns:
        Whether there was anything to draw.
    """
    jobs = [job for job in manifest.jobs if job.ap is not None]
    keys = [key for key in _keys(jobs) if key != SEED] or _keys(jobs)
    if not jobs or not keys:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(keys), 3.6), layout="constrained")
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    for key, panel in zip(keys, panels, strict=True):
        _panel(panel, key, [[job] for job in jobs] if key == SEED else _by_settings(jobs).values())
    panels[0].set_ylabel("AP")
    drawn = io.BytesIO()  # Pillow does not notice what a full disk has not taken
    figure.savefig(drawn, format="png", dpi=120)
    write_whole(drawn.getvalue(), file)
    return True


def _panel(panel: object, key: str, groups: Iterable[Sequence[Job]]) -> None:
    groups = list(groups)
    values = [same[0].values.get(key, "") for same in groups]
    aps = [[job.ap for job in same if job.ap is not None] for same in groups]
    axes: Any = panel
    numbers = [_number(value) for value in values]
    words = list(dict.fromkeys(values))
    places = numbers if None not in numbers else [float(words.index(value)) for value in values]
    spread = [stdev(group) if len(group) > 1 else 0.0 for group in aps]
    several = any(len(group) > 1 for group in aps)
    axes.errorbar(
        places,
        [mean(group) for group in aps],
        yerr=spread if several else None,
        fmt="o",
        alpha=0.7,
        capsize=4,
    )
    if None not in numbers:
        chosen = sorted({number for number in numbers if number is not None})
        if chosen[0] > 0 and chosen[-1] >= 10 * chosen[0]:
            axes.set_xscale("log")
    else:
        axes.set_xticks(range(len(words)), words, rotation=20, ha="right")
        axes.set_xlim(-0.5, len(words) - 0.5)
    axes.set_xlabel(key)
    axes.grid(alpha=0.3)


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None

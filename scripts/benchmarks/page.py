"""What the rows measured, as JSON, as a page and as a picture."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, Growth, Result
from fcos_lightning.storage.replacing import replacing, write_whole

HEAD = """# Performance

Ours beside the installed peers, on the same inputs, in turn, in one process for each row: medians,
with the smallest and the largest in brackets, and the median of the ratios of neighbouring runs,
greater than 1 where ours needs less. "Asked" is what the row was meant to reach. Written by
`make bench`; `python scripts/benchmark.py row=NAME` repeats one row. The figures of
docs/performance.json are behind this page.

"""

GROWTH = """
## How cost grows

Both axes are logarithmic: the dotted line is one along which twice as much takes twice as long.

![Curves of time by size](performance.png)

| | ours | peer |
|---|---|---|
"""


@dataclass(frozen=True)
class Report:
    """One row with its figures, and where they were taken.

    Attributes:
        name: of the row.
        title: in the table.
        result: what was measured; None where the row was left out.
        reason: why it was left out.
        machine: processor, cores, GPU.
        versions: of Python and of the packages that count.
        day: of the measuring, ISO.
    """

    name: str
    title: str
    result: Result | None
    reason: str = ""
    machine: str = field(default_factory=lambda: machine())
    versions: str = field(default_factory=lambda: versions())
    day: str = field(default_factory=lambda: date.today().isoformat())

    @classmethod
    def of(cls, name: str, title: str, result: Result) -> Report:
        """Return the report of a row that ran."""
        return cls(name, title, result)

    @classmethod
    def left_out(cls, name: str, title: str, reason: str) -> Report:
        """Return the report of a row that this machine cannot run."""
        return cls(name, title, None, reason)

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Return what ``to_json`` wrote."""
        return cls.from_plain(json.loads(text))

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Report:
        """Return a report of its plain values."""
        result = values.pop("result")
        if result is not None:
            result = Result(
                figures=[Figure(**figure) for figure in result["figures"]],
                notes=result["notes"],
                growths=[Growth(**growth) for growth in result["growths"]],
            )
        return cls(**values, result=result)

    def text(self) -> str:
        """Return it as the terminal shows it."""
        if self.result is None:
            return f"{self.name}: left out, {self.reason}"
        lines = [" | ".join(cells) for cells in self.cells()]
        lines += [f"  {note}" for note in self.result.notes]
        for growth in self.result.growths:
            lines.append(f"  {growth.what} by {growth.along}: {list(growth.sizes)}")
            for who, values in (("ours", growth.ours_s), (growth.peer, growth.theirs_s)):
                shown = ", ".join("-" if v is None else f"{v:.3g}" for v in values)
                lines.append(f"    {who}: {shown} s")
        return f"{self.name}\n" + "\n".join(lines)

    def cells(self) -> list[list[str]]:
        """Return the lines of the table."""
        if self.result is None:
            return [[self.title, "", "", "", "", f"left out: {self.reason}"]]
        lines = []
        for figure in self.result.figures:
            title = f"{self.title}: {figure.what}" if figure.what else self.title
            theirs = f"{figure.peer} {spread(figure.theirs, figure.unit)}" if figure.theirs else ""
            lines.append(
                [
                    title,
                    spread(figure.ours, figure.unit),
                    theirs,
                    "" if figure.ratio is None else f"**{figure.ratio:.2f}**",
                    asked(figure),
                    verdict(figure),
                ]
            )
        return lines

    def keep(self, folder: Path, order: Sequence[str]) -> None:
        """Put it in the place of the row's older report and write page, JSON and picture anew."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "performance.json"
        reports = {}
        if file.is_file():
            for values in json.loads(file.read_text()):
                reports[values["name"]] = Report.from_plain(values)
        reports[self.name] = self
        kept = [reports[name] for name in order if name in reports]
        write_whole(json.dumps([asdict(report) for report in kept], indent=1) + "\n", file)
        if growths := growths_of(kept):
            draw(growths, folder / "performance.png")
        write_whole(page(kept), folder / "performance.md")


def growths_of(reports: Sequence[Report]) -> list[Growth]:
    """Return the curves of all rows."""
    return [growth for report in reports if report.result for growth in report.result.growths]


def page(reports: Sequence[Report]) -> str:
    """Return docs/performance.md."""
    lines = [HEAD]
    lines.append("| row | ours | peer | ratio | asked | |\n|---|---|---|---|---|---|\n")
    lines += ["| " + " | ".join(c) + " |\n" for report in reports for c in report.cells()]
    lines.append("\n## Where and how\n\n")
    places: dict[tuple[str, str, str], list[str]] = {}
    for report in reports:
        if report.result is not None:
            key = (report.machine, report.versions, report.day)
            places.setdefault(key, []).append(report.name)
    for (where, with_what, day), names in places.items():
        lines.append(f"- {', '.join(names)}: {where}; {with_what}; {day}.\n")
    for report in reports:
        if report.result is not None and report.result.notes:
            lines.append(f"\n### {report.title}\n\n")
            lines += [f"- {note}\n" for note in report.result.notes]
    if growths := growths_of(reports):
        lines.append(GROWTH)
        lines += ["| " + " | ".join(growth_cells(growth)) + " |\n" for growth in growths]
    return "".join(lines)


def growth_cells(growth: Growth) -> list[str]:
    """Return how much longer the largest takes than the smallest, for ours and for the peer."""
    cells = [f"{growth.what} by {growth.along}"]
    known = [(x, y) for x, y in zip(growth.sizes, growth.theirs_s, strict=True) if y]
    for curve in (list(zip(growth.sizes, growth.ours_s, strict=True)), known):
        if len(curve) < 2:
            cells.append("")
            continue
        (small, short), (large, long) = curve[0], curve[-1]
        cells.append(
            f"{small:,} to {large:,}, {number(large / small)} times as much: "
            f"**{number(long / short)}** times as long"
        )
    return cells


def spread(values: Sequence[float], unit: str) -> str:
    """Return ``median unit (min to max)``."""
    middle = statistics.median(values)
    if len(values) == 1 or min(values) == max(values):
        return f"{number(middle)} {unit}"
    return f"{number(middle)} {unit} ({number(min(values))} to {number(max(values))})"


def number(value: float) -> str:
    """Return three digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def asked(figure: Figure) -> str:
    """Return what the figure was meant to reach."""
    parts = [] if figure.target is None else [f"{figure.target:g}x"]
    if figure.absolute_target is not None:
        bound = "at least" if figure.higher_is_better else "at most"
        parts.append(f"{bound} {figure.absolute_target:g} {figure.unit}")
    return ", ".join(parts)


def verdict(figure: Figure) -> str:
    """Return whether it was reached; nothing where nothing was asked."""
    missed = []
    if figure.target is not None and figure.ratio is not None and figure.ratio < figure.target:
        missed.append(f"{1 - figure.ratio / figure.target:.0%} short")
    if figure.absolute_target is not None:
        middle = statistics.median(figure.ours)
        over, under = middle > figure.absolute_target, middle < figure.absolute_target
        if under if figure.higher_is_better else over:
            missed.append(f"{abs(middle / figure.absolute_target - 1):.0%} off")
    nothing = figure.target is None and figure.absolute_target is None
    return "" if nothing else ", ".join(missed) or "reached"


def draw(growths: Sequence[Growth], file: Path) -> None:
    """Draw the curves of ours and the peers."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = 3
    rows = -(-len(growths) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4 * columns, 3.2 * rows), squeeze=False)
    for panel, growth in zip(axes.flat, growths, strict=False):
        panel.plot(growth.sizes, growth.ours_s, "o-", label="ours")
        known = [(x, y) for x, y in zip(growth.sizes, growth.theirs_s, strict=True) if y]
        if known:
            panel.plot(*zip(*known, strict=True), "s--", label=growth.peer)
        first, last, top = growth.sizes[0], growth.sizes[-1], growth.ours_s[-1]
        panel.plot([first, last], [top * first / last, top], ":", color="grey", linewidth=1)
        panel.set(xscale="log", yscale="log", title=growth.what, xlabel=growth.along, ylabel="s")
        panel.title.set_fontsize(10)
        panel.legend(fontsize=8)
    for panel in axes.flat[len(growths) :]:
        panel.set_visible(False)
    figure.tight_layout()
    with replacing(file) as draft:
        figure.savefig(draft, dpi=90, format="png")
    plt.close(figure)


def machine() -> str:
    """Return the processor's name, how many of its cores there are, and the GPU's name."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{os.cpu_count()} cores of {name}{gpu}"


def versions() -> str:
    """Return the versions of Python and of the packages that are measured."""
    packages = ("torch", "torchvision", "lightning", "pycocotools", "opencv-python-headless")
    found = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"Python {sys.version.split()[0]}, {found}"

"""The page of a sweep over the article's claims: at its beginning, and again at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.reports.article.write import PAGE, write_article
from fcos_lightning.runs.article.cases import cases_of
from fcos_lightning.runs.article.trained import TrainedRun, trained_numbers
from fcos_lightning.runs.article.untrained import mappings, untrained_numbers
from fcos_lightning.runs.config.composed import composed
from fcos_lightning.runs.session import make_datamodule, quiet
from fcos_lightning.storage.bars import counting_bar
from fcos_lightning.sweeps.manifest import Job, Manifest
from fcos_lightning.sweeps.results import figures_of


class Article:
    """Counts what needs no training, writes the page, and writes it again with what was trained.

    Args:
        manifest: of the sweep, with its jobs.
        settings: ``sweep.*`` of this start of it.
        say: prints a line.

    Raises:
        UserError: if data or net do not fit, or the page cannot be written.
    """

    def __init__(
        self, manifest: Manifest, settings: Mapping[str, Any], say: Callable[[str], None]
    ) -> None:
        quiet()
        self._manifest = manifest
        self._say = say
        self._cases: list[list[str]] = settings["cases"]
        with composed("train", manifest.fixed) as config:
            self._data = make_datamodule(config)
        cases = cases_of(manifest.fixed, self._cases, self._data.train)
        with counting_bar("label mappings", mappings(cases)) as advance:
            images = settings["images"]
            self._untrained = untrained_numbers(self._data, cases, images, advance)
        self.write()

    def write(self) -> None:
        """Write the page with what is finished by now."""
        manifest = self._manifest
        runs = [self._run(job) for job in manifest.jobs]
        done = any(run.done for run in runs)
        rows = trained_numbers(runs, self._cases, self._data.val if done else self._data.train)
        command = " ".join(["fcos-train -m sweep=article", *manifest.words])
        write_article(manifest.folder, self._untrained, rows, command)
        self._say(printable(f"{PAGE} in {manifest.folder}", LONGEST_LINE))

    def _run(self, job: Job) -> TrainedRun:
        fitting = [tuple(case) for case in self._cases if job.swept[: len(case)] == tuple(case)]
        words = max(fitting, key=len)  # FCOS as it is begins like FCOS with something changed
        known = {k: v for k, v in figures_of(self._manifest, job).items() if v is not None}
        return TrainedRun(words, self._manifest.run_folder(job), job.state == "done", known)

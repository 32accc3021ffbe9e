"""``fcos-doctor`` from its configuration: the data set, how it would be learnt, what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress

from fcos_lightning.data import DetectionDataModule
from fcos_lightning.doctor.examine import assign, found, look_at_files, read_sets
from fcos_lightning.doctor.findings import Diagnosis
from fcos_lightning.doctor.learning import Learning
from fcos_lightning.doctor.output import numbers_of, print_diagnosis
from fcos_lightning.doctor.showing import doctor_page, most_shots
from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.reports.page import json_text
from fcos_lightning.runs.folder import new_levels, new_run_folder, removed_if_stopped
from fcos_lightning.runs.instantiate import make
from fcos_lightning.runs.kinds import check_kinds
from fcos_lightning.runs.session import make_datamodule, quiet
from fcos_lightning.storage.folders import complete_or_absent
from fcos_lightning.storage.replacing import write_whole

#: Names of what is written.
NUMBERS, PAGE = "doctor.json", "doctor.html"


def examined(config: DictConfig) -> int:
    """Look at a data set, write and print what is wrong, and return the exit status.

    Raises:
        UserError: if the data set cannot be read at all.
    """
    check_kinds(config)
    quiet()
    datamodule = make_datamodule(config)
    datamodule.strict = False  # what it would refuse is a finding
    if hasattr(datamodule, "cache"):
        datamodule.cache = False  # it does not know of what was left out
    data = read_sets(datamodule)
    how = _learning(config, datamodule, data.class_names)
    made = new_levels(None) if config.run_dir is None else 0
    folder = new_run_folder(config.run_dir, config.name)
    with removed_if_stopped(folder, made):
        with _bar("images", sum(len(one.split) for one in data.sets)) as advance:
            data = look_at_files(data, advance)
        data = assign(data, how)
        diagnosis = Diagnosis(found(data))
        status = diagnosis.status(bool(config.strict))
        layout = datamodule.found or type(datamodule).__name__
        numbers = numbers_of(data, diagnosis, layout, status, {})
        files = {NUMBERS: json_text(numbers)}
        if config.page:
            with _bar("page", most_shots(diagnosis)) as advance:
                files[PAGE] = doctor_page(data, diagnosis, numbers, advance)
        with complete_or_absent(folder, last=NUMBERS) as draft:
            for name, text in files.items():
                write_whole(text, draft / name)
    print(printable(f"data: {layout}", LONGEST_LINE))
    for one in data.sets:
        print(printable(f"{one.role}: {one.name}, {len(one.split)} images", LONGEST_LINE))
    print_diagnosis(data, diagnosis, Console())
    print(
        printable(
            f"doctor: {diagnosis.in_words()}; {' and '.join(files)} in {folder}", LONGEST_LINE
        )
    )
    return status


def _learning(
    config: DictConfig, data: DetectionDataModule, class_names: tuple[str, ...]
) -> Learning:
    """Return how the configuration would have it learnt; no weights are read or made."""
    import torch

    if config.model.get("backbone") is not None:
        config.model.backbone.weights = None
    named: dict[str, Any] = {"class_names": class_names}
    with torch.device("meta"):
        detector = make(config, "model", **named)
    return Learning(
        detector.grid,
        detector.assigner,
        data.shorter_side,
        data.longer_side,
        detector.size_multiple,
    )


@contextmanager
def _bar(name: str, total: int) -> Iterator[Callable[[], None]]:
    """Show how far a look at images is, where somebody watches."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=total)
        yield lambda: bar.advance(task)

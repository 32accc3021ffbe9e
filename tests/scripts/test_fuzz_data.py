"""A small share of the files that ``scripts/fuzz_data.py`` reads by the thousand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fcos_lightning.data.readers import coco, voc, voc_xml

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import fuzz_data  # noqa: E402
from fuzz_data import fuzz_coco, fuzz_voc  # noqa: E402


@pytest.mark.parametrize("fuzz", list(fuzz_data.FUZZ.values()), ids=list(fuzz_data.FUZZ))
def test_odd_files_are_read_or_refused_by_one_line(
    tmp_path: Path, fuzz: Callable[[Path, int, int], fuzz_data.Report]
) -> None:
    report = fuzz(tmp_path, 150, 7)
    assert report.faults == []
    assert min(report.outcomes[what] for what in ("read", "refused", "images")) > 20


def test_readers_of_two_minds_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco.PlainColumns, "ignored", property(lambda self: self.boxless))
    report = fuzz_coco(tmp_path, 60, 7)
    assert {kind for kind, _, _ in report.faults} == {"readers differ"}


def test_a_traceback_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voc, "number", float)
    monkeypatch.setattr(voc_xml, "ParseError", KeyError)
    report = fuzz_voc(tmp_path, 60, 7)
    assert {kind for kind, _, _ in report.faults} == {"exception"}

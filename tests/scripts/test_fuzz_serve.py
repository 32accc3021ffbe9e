"""A small share of the bodies that ``scripts/fuzz_serve.py`` sends by the thousand."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest
from tests.serving.talking import FakePredictor, served, service_of

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import fuzz_serve  # noqa: E402
from fuzz_serve import fault_of, sent  # noqa: E402
from hostile.bodies import PIXELS, bodies  # noqa: E402


def test_each_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_serve, "SLOW_S", 1e9)  # how busy this machine is, is no fault
    predictor = FakePredictor()
    service = service_of(predictor, {"max_pixels": PIXELS, "max_bytes": 2_000_000})
    with served(service, 20) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        statuses, faults = sent(client, 120, 7)
    assert faults == []
    assert sum(statuses.values()) == 120 and set(statuses) <= {400, 413, 415, 422}
    assert len(predictor.batches) == 12  # the good images between them


def test_the_same_seed_makes_the_same_bodies() -> None:
    assert list(bodies(60, 3)) == list(bodies(60, 3)) != list(bodies(60, 4))


def test_an_answer_that_is_no_refusal_is_found() -> None:
    for status, content, told in (
        (200, b"{}", "status 200"),
        (500, b'{"error": "a"}', "status 500"),
        (400, b"plain", "no JSON"),
        (400, b'{"error": "a\\nb"}', "no single line"),
        (400, b'{"error": "a"}', None),
    ):
        fault = fault_of(httpx.Response(status, content=content), 0.1)
        assert fault is None if told is None else told in str(fault)
    assert "took" in str(fault_of(httpx.Response(400, content=b'{"error": "a"}'), 11))

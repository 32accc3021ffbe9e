"""``scripts/load_serve.py``: what it counts, and when it is content."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest
from tests.serving.talking import FakePredictor, alone, served, service_of

from fcos_lightning.inference.prepared import Prepared
from fcos_lightning.structures import Detections

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from load_serve import Seen, at_ease, photos, pressed, told  # noqa: E402


class Slow(FakePredictor):
    def detected(self, images: Sequence[Prepared]) -> list[Detections]:
        time.sleep(0.05)
        return super().detected(images)


def test_what_is_too_much_is_refused_and_all_else_answered() -> None:
    files = photos(2, 24, 32)

    async def load(port: int) -> tuple[Seen, Seen]:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}/") as client:
            return await at_ease(client, files, 0.5, 2), await pressed(client, files, 1.5, 60.0)

    with served(service_of(Slow(), {"queue": 4}), 20) as port:
        ease, press = alone(load(port))
    assert set(ease.statuses) == {200} and ease.statuses[200] == len(ease.accepted_s) > 3
    assert set(press.statuses) == {200, 429} and sum(press.statuses.values()) + press.late == 90
    assert max(press.accepted_s) < 5 and press.memory_mb[0] > 10
    assert told(press, 1.5, 60.0) == 0


@pytest.mark.parametrize(
    ("statuses", "memory_mb", "status"),
    [
        ({200: 5, 429: 5}, [100.0] * 8, 0),
        ({200: 5, 503: 1}, [100.0] * 8, 1),
        ({200: 5, 0: 1}, [100.0] * 8, 1),
        ({429: 5}, [100.0] * 8, 1),
        ({200: 5}, [100.0, 120.0, 140.0, 170.0], 1),
    ],
)
def test_errors_and_memory_that_grows_are_not_fine(
    statuses: dict[int, int], memory_mb: list[float], status: int
) -> None:
    seen = Seen(Counter(statuses), [0.1] * 5, memory_mb)
    assert told(seen, 1.0, 10.0) == status

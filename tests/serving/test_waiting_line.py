"""Who waits, who is looked at together, and what one image may do to the others."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from tests.serving.talking import FakePredictor, png, posted, service_of, talk

from fcos_lightning.serving.application import Service


async def sent(client: httpx.AsyncClient, colours: list[int], **size: int) -> list[httpx.Response]:
    async def one(colour: int) -> httpx.Response:
        return await client.post("/detect", content=png(value=colour, **size))

    return list(await asyncio.gather(*map(one, colours)))


async def until(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.005)


def test_images_of_one_size_are_looked_at_together_as_many_as_fit() -> None:
    predictor = FakePredictor()
    service = service_of(predictor, {"batch_size": 3, "delay_ms": 5000})
    answers = talk(service, lambda client: sent(client, [10, 20, 30, 40, 50, 60]))
    assert [len(batch) for batch in predictor.batches] == [3, 3]
    assert [round(one.json()["scores"][0] * 255) for one in answers] == [10, 20, 30, 40, 50, 60]


def test_the_first_image_of_a_batch_waits_no_longer_than_the_delay() -> None:
    predictor = FakePredictor()
    (answer,) = talk(
        service_of(predictor, {"batch_size": 64, "delay_ms": 20}),
        lambda client: sent(client, [10]),
    )
    assert answer.status_code == 200 and predictor.batches == [[10]]


def test_images_of_other_sizes_are_not_padded_to_one_another() -> None:
    predictor = FakePredictor()

    async def conversation(client: httpx.AsyncClient) -> None:
        await asyncio.gather(sent(client, [10, 20]), sent(client, [30, 40], height=16))

    talk(service_of(predictor, {"batch_size": 2, "delay_ms": 5000}), conversation)
    assert sorted(map(sorted, predictor.batches)) == [[10, 20], [30, 40]]


def test_an_image_of_a_rare_size_is_not_passed_over_for_ever() -> None:
    predictor = FakePredictor()
    predictor.may_go_on.clear()
    service = service_of(predictor, {"batch_size": 2, "delay_ms": 0})

    async def conversation(client: httpx.AsyncClient) -> None:
        first = asyncio.create_task(sent(client, [1]))
        await until(lambda: predictor.batches)
        rare = asyncio.create_task(sent(client, [2], height=16))
        await until(lambda: service.line.taken == 2)
        many = asyncio.create_task(sent(client, [3, 4, 5, 6]))
        await until(lambda: service.line.taken == 6)
        await asyncio.sleep(0.2)  # decoding
        predictor.may_go_on.set()
        await asyncio.gather(first, rare, many)

    talk(service, conversation)
    assert predictor.batches[:2] == [[1], [2]]


def test_a_full_line_refuses_and_says_when_to_try_again() -> None:
    predictor = FakePredictor()
    predictor.may_go_on.clear()
    service = service_of(predictor, {"queue": 2})

    async def conversation(client: httpx.AsyncClient) -> list[httpx.Response]:
        waiting = asyncio.create_task(sent(client, [1, 2]))
        await until(lambda: service.line.taken == 2)
        (refused,) = await sent(client, [3])
        predictor.may_go_on.set()
        accepted = await waiting
        (later,) = await sent(client, [4])
        return [refused, *accepted, later]

    refused, *others = talk(service, conversation)
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
    assert [one.status_code for one in others] == [200, 200, 200]
    assert service.line.taken == 0


def test_more_than_there_is_time_for_is_refused_at_once() -> None:
    """Rather than taken on, and given up after the time is over."""

    class Slow(FakePredictor):
        def detected(self, images: Any) -> Any:
            time.sleep(0.3)
            return super().detected(images)

    async def conversation(client: httpx.AsyncClient) -> list[httpx.Response]:
        await sent(client, [1])  # now it is known how long one takes
        return await sent(client, list(range(10, 30)))

    answers = talk(service_of(Slow(), {"timeout_s": 1.0, "queue": 64}), conversation)
    statuses = {one.status_code for one in answers}
    assert statuses <= {200, 429, 503} and 429 in statuses and 200 in statuses


def test_what_takes_too_long_is_given_up() -> None:
    predictor = FakePredictor()
    predictor.may_go_on.clear()
    service = service_of(predictor, {"timeout_s": 0.2})

    async def conversation(client: httpx.AsyncClient) -> httpx.Response:
        (answer,) = await sent(client, [1])
        assert service.line.taken == 0
        predictor.may_go_on.set()
        return answer

    answer = talk(service, conversation)
    assert answer.status_code == 503 and "0.2 s" in answer.json()["error"]


class ClientThatGoes:
    """Sends a whole image, and closes its connection when told."""

    def __init__(self, service: Service, colour: int) -> None:
        self.goes = asyncio.Event()
        self.answers: list[Any] = []
        self._body: list[dict[str, Any]] = [{"type": "http.request", "body": png(value=colour)}]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/detect",
            "raw_path": b"/detect",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
            "http_version": "1.1",
            "scheme": "http",
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }
        self.task = asyncio.create_task(service.app(scope, self.receive, self.send))  # type: ignore[arg-type]

    async def receive(self) -> dict[str, Any]:
        if self._body:
            return self._body.pop()
        await self.goes.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.answers.append(message)


def test_a_client_that_has_gone_leaves_its_place_and_is_not_looked_at() -> None:
    predictor = FakePredictor()
    predictor.may_go_on.clear()
    service = service_of(predictor, {"queue": 2})

    async def conversation(client: httpx.AsyncClient) -> httpx.Response:
        working = asyncio.create_task(sent(client, [1]))
        await until(lambda: predictor.batches)
        waiting = ClientThatGoes(service, 2)
        await until(lambda: service.line.taken == 2)
        await asyncio.sleep(0.1)  # decoding
        waiting.goes.set()
        await until(lambda: service.line.taken == 1)
        await waiting.task
        third = asyncio.create_task(sent(client, [3]))
        await until(lambda: service.line.taken == 2)
        predictor.may_go_on.set()
        await working
        return (await third)[0]

    assert talk(service, conversation).status_code == 200
    assert predictor.batches == [[1], [3]]


def failing_on(*colours: int) -> FakePredictor:
    def judge(batch: list[int]) -> BaseException | None:
        return RuntimeError("no such\x1b[2J layer") if set(colours) & set(batch) else None

    return FakePredictor(judge)


def test_an_image_that_the_detector_fails_on_fails_alone() -> None:
    predictor = failing_on(30)
    service = service_of(predictor, {"batch_size": 4, "delay_ms": 5000})
    answers = talk(service, lambda client: sent(client, [10, 20, 30, 40]))
    assert [one.status_code for one in answers] == [200, 200, 500, 200]
    assert set(answers[2].json()) == {"error"} and "layer" not in answers[2].text
    assert "fcos_failed_images_total 1.0" in service.counters.text().decode()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        SystemExit(3),
        KeyboardInterrupt(),
    ],
)
def test_whatever_the_detector_raises_the_server_goes_on(error: BaseException) -> None:
    predictor = FakePredictor(lambda colours: error if colours == [1] else None)

    async def conversation(client: httpx.AsyncClient) -> list[int]:
        return [(await sent(client, [colour]))[0].status_code for colour in (1, 2)]

    assert talk(service_of(predictor), conversation) == [500, 200]


def test_a_batch_that_memory_is_too_little_for_is_looked_at_one_by_one() -> None:
    predictor = FakePredictor(lambda colours: MemoryError() if len(colours) > 1 else None)
    service = service_of(predictor, {"batch_size": 3, "delay_ms": 5000})
    answers = talk(service, lambda client: sent(client, [10, 20, 30]))
    assert [one.status_code for one in answers] == [200, 200, 200]


def test_those_that_still_wait_at_the_end_are_told() -> None:
    predictor = FakePredictor()
    service = service_of(predictor)
    assert posted(service, png()).status_code == 200  # the line has been closed with it

    async def late() -> str:
        try:
            await service.line.detect(predictor.prepared(np.zeros((8, 8, 3), np.uint8)))
        except Exception as error:
            return str(error)
        return ""

    assert asyncio.run(late()) == "the server stops"

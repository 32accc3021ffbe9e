"""What is answered: the numbers of ``Predictor``, in JSON that is as the description says."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from tests.inference.scenes import SIDES, write_checkpoint
from tests.serving.talking import asked, png, posted, service_of, talk

from fcos_lightning import Predictor
from fcos_lightning.serving.access import Access
from fcos_lightning.serving.answers import Detected
from fcos_lightning.serving.application import Service


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("served") / "best.ckpt", **SIDES)


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> Predictor:
    return Predictor.load(checkpoint, device="cpu")


def picture(seed: int, height: int, width: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def assert_equal(answer: dict[str, Any], predictor: Predictor, file: Path) -> None:
    """To the last digit."""
    wanted = predictor(file)
    assert len(wanted) > 3
    assert answer["boxes"] == wanted.boxes_xyxy.tolist()
    assert answer["scores"] == wanted.scores.tolist()
    assert answer["labels"] == wanted.labels.tolist()
    assert answer["names"] == list(wanted.names or ())
    assert answer["model"] == "a.ckpt" and answer["milliseconds"] > 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000"])
def test_the_boxes_are_those_of_a_predictor(
    kind: str, predictor: Predictor, tmp_path: Path
) -> None:
    content = saved(picture(1, 180, 140), kind)
    (tmp_path / "photo").write_bytes(content)
    answer = posted(service_of(predictor), content)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert_equal(answer.json(), predictor, tmp_path / "photo")
    assert answer.json()["size"] == {"width": 140, "height": 180}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_camera_says(
    orientation: int, predictor: Predictor, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(picture(2, 60, 90), "JPEG", exif=exif)
    (tmp_path / "photo.jpg").write_bytes(content)
    answer = posted(service_of(predictor), content).json()
    assert_equal(answer, predictor, tmp_path / "photo.jpg")
    size = {"width": 90, "height": 60} if orientation < 5 else {"width": 60, "height": 90}
    assert answer["size"] == size


def test_a_form_and_plain_bytes_are_answered_alike(predictor: Predictor) -> None:
    content = saved(picture(3, 64, 90), "PNG")
    plain = posted(service_of(predictor), content).json()
    form = asked(service_of(predictor), "POST", "/detect", files={"image": ("a.png", content)})
    unnamed = posted(service_of(predictor), content, content_type="image/png")
    curl = posted(service_of(predictor), content, content_type="application/x-www-form-urlencoded")
    for other in (form, unnamed, curl):
        assert other.json() | {"milliseconds": 0} == plain | {"milliseconds": 0}


def test_many_at_once_are_answered_as_if_each_were_alone(
    predictor: Predictor, tmp_path: Path
) -> None:
    """Sizes differ; GroupNorm would see the padding of a batch that held all of them."""
    sizes = [(64, 90), (90, 64), (180, 140), (60, 90), (64, 90), (62, 90), (40, 50), (60, 400)]
    contents = [saved(picture(i, *size), "PNG") for i, size in enumerate(sizes)]

    async def all_at_once(client: httpx.AsyncClient) -> list[httpx.Response]:
        return await asyncio.gather(*(client.post("/detect", content=one) for one in contents))

    service = service_of(predictor, {"batch_size": 4, "delay_ms": 200, "threads": 2})
    answers = [one.json() for one in talk(service, all_at_once)]
    for index, (content, answer) in enumerate(zip(contents, answers, strict=True)):
        file = tmp_path / f"{index}.png"
        file.write_bytes(content)
        alone = predictor(file)
        torch.testing.assert_close(
            torch.tensor(answer["boxes"]), alone.boxes_xyxy, atol=0.01, rtol=1e-4
        )
        torch.testing.assert_close(
            torch.tensor(answer["scores"]), alone.scores, atol=1e-5, rtol=1e-5
        )
        assert answer["labels"] == alone.labels.tolist()
    batched = service.counters.text().decode()
    assert 'fcos_batch_images_bucket{le="1.0"} 8.0' not in batched


def test_a_score_threshold_counts_for_its_request_alone(
    predictor: Predictor, tmp_path: Path
) -> None:
    content = saved(picture(4, 180, 140), "PNG")
    (tmp_path / "photo.png").write_bytes(content)
    everything = predictor(tmp_path / "photo.png")
    middle = float(everything.scores[len(everything) // 2])
    for query, least in (
        (f"?score_threshold={middle}", middle),
        ("?score_threshold=0", 0),
        ("", 1),
    ):
        answer = posted(
            service_of(predictor, score_threshold=1.0), content, f"/detect{query}"
        ).json()
        assert answer["scores"] == everything.above(least).scores.tolist()


@pytest.mark.parametrize("word", ["2", "-0.1", "nan", "inf", "", "a", "1e400", "null"])
def test_a_threshold_that_is_none_is_refused(word: str) -> None:
    answer = posted(service_of(), png(), f"/detect?score_threshold={word}")
    assert answer.status_code == 422 and "score_threshold" in answer.json()["error"]


def test_a_parameter_that_nobody_reads_is_refused() -> None:
    answer = posted(service_of(), png(), "/detect?threshold=0.5")
    assert answer.status_code == 422 and "'threshold'" in answer.json()["error"]
    twice = posted(service_of(), png(), "/detect?score_threshold=0.1&score_threshold=0.9")
    assert twice.status_code == 422


def test_a_checkpoint_without_names_has_none(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path / "bare.ckpt", named=False, **SIDES)
    service = service_of(Predictor.load(file, device="cpu"))
    answer = posted(service, saved(picture(1, 64, 90), "PNG")).json()
    assert answer["names"] is None and len(answer["labels"]) > 0


def test_what_is_not_there_is_said_in_one_line_of_json() -> None:
    for method, url, status in (
        ("GET", "/none", 404),
        ("GET", "/detect", 405),
        ("POST", "/", 405),
        ("GET", "/docs", 404),
        ("GET", "/page/../access.py", 404),
    ):
        answer = asked(service_of(), method, url)
        assert answer.status_code == status and set(answer.json()) == {"error"}


def test_health_is_said_until_the_server_stops() -> None:
    service = service_of()
    answer = asked(service, "GET", "/healthz")
    assert answer.status_code == 200 and answer.json() == {"status": "ready"}

    async def stopping(client: httpx.AsyncClient) -> tuple[httpx.Response, httpx.Response]:
        stopped.stopping = True
        return await client.get("/healthz"), await client.post("/detect", content=png())

    stopped = service_of()
    for one in talk(stopped, stopping):
        assert one.status_code == 503 and one.headers["retry-after"] == "1"


def test_figures_are_in_prometheus_format() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    async def conversation(client: httpx.AsyncClient) -> str:
        await client.post("/detect", content=png())
        await client.post("/detect", content=b"none")
        await client.get("/a/b/c?d")
        return (await client.get("/metrics")).text

    families = list(text_string_to_metric_families(talk(service_of(), conversation)))
    values = {
        (one.name, *sorted(one.labels.values())): one.value
        for family in families
        for one in family.samples
    }
    assert values["fcos_images_total",] == 1
    assert values["fcos_requests_total", "/detect", "200", "POST"] == 1
    assert values["fcos_requests_total", "/detect", "422", "POST"] == 1
    assert values["fcos_requests_total", "404", "GET", "other"] == 1
    assert values["fcos_waiting_images",] == 0 and values["fcos_held_bytes",] == 0


def described(service: Service) -> dict[str, Any]:
    description: dict[str, Any] = asked(service, "GET", "/openapi.json").json()
    return description


def test_the_description_is_true_of_an_answer() -> None:
    description = described(service_of())
    assert set(description["paths"]) == {"/", "/detect", "/healthz", "/metrics"}
    post = description["paths"]["/detect"]["post"]
    content = post["requestBody"]["content"]
    assert set(content) == {"application/octet-stream", "image/*", "multipart/form-data"}
    (parameter,) = post["parameters"]
    assert parameter["schema"]["minimum"] == 0 and parameter["schema"]["maximum"] == 1
    answer = posted(service_of(), png())
    Detected.model_validate(answer.json(), extra="forbid")
    assert "401" not in post["responses"] and "security" not in post
    with_urls = described(service_of(urls=True))["paths"]["/detect"]["post"]
    assert "application/json" in with_urls["requestBody"]["content"]
    locked = described(service_of(access=Access("127.0.0.1", "secret")))["paths"]["/detect"]["post"]
    assert locked["security"] == [{"HTTPBearer": []}] and "401" in locked["responses"]


def test_a_page_of_ours_may_load_nothing_from_elsewhere() -> None:
    page = asked(service_of(), "GET", "/")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert "http:" not in policy and "https:" not in policy
    for name in ("style.css", "asked.js", "shown.js"):
        assert f"page/{name}" in page.text
        part = asked(service_of(), "GET", f"/page/{name}")
        assert part.status_code == 200 and part.headers["x-content-type-options"] == "nosniff"
        assert "innerHTML" not in part.text and "://" not in part.text
    assert "<script>" not in page.text and "style=" not in page.text and "onclick" not in page.text


def test_the_name_of_a_model_is_text_on_the_page() -> None:
    from dataclasses import replace

    served = service_of()._served
    service = Service(replace(served, model="<script>alert(1)</script>.ckpt"))
    page = asked(service, "GET", "/").text
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page

"""Large images in tiles, by the commands."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.running import Command
from tests.inference.scenes import SIDES, write_checkpoint

from fcos_lightning import Predictor
from fcos_lightning.data.images import read_image
from fcos_lightning.inference.tiling import tiff_rows

TILED = ("tiles=96x96", "tiles_overlap=0.25")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "best.ckpt", **SIDES)


def photo(path: Path, height: int, width: int, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def boxes_of(rows: list[dict[str, object]], number: int) -> np.ndarray:
    return np.array([row["bbox"] for row in rows if row["image_id"] == number])


def test_predict_and_test_find_in_tiles_what_the_predictor_finds(
    checkpoint: Path, tmp_path: Path, command: Command
) -> None:
    files = [photo(tmp_path / "data/val" / f"{n}.png", 200, 300, n) for n in range(2)]
    photo(tmp_path / "data/train/0.png", 64, 64)
    result = command("predict", f"ckpt={checkpoint}", "source=data/val", "out=out", *TILED)
    assert result.code == 0, result.err
    rows = json.loads((tmp_path / "out/predictions.json").read_text())
    predictor = Predictor.load(
        checkpoint, device="cpu", score_threshold=0.3, tiles="96x96", tiles_overlap=0.25
    )
    whole = Predictor.load(checkpoint, device="cpu", score_threshold=0.3)
    for number, file in enumerate(files, 1):
        found = predictor(file)
        assert len(found) > len(whole(file))
        xywh = found.boxes_xyxy.numpy()
        xywh[:, 2:] -= xywh[:, :2]
        np.testing.assert_allclose(boxes_of(rows, number), xywh, atol=1e-3)

    for split, count in (("train", 1), ("val", 2)):
        content = {
            "images": [
                {"id": n + 1, "file_name": f"{n}.png", "width": 300, "height": 200}
                for n in range(count)
            ],
            "categories": [{"id": 7, "name": "cat"}, {"id": 90, "name": "dog"}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 7, "bbox": [9, 9, 30, 30], "area": 900}
            ],
        }
        place = tmp_path / "data/annotations" / f"instances_{split}.json"
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps(content))
    words = (f"ckpt={checkpoint}", "data=coco", "data.root=data", "data.val_split=val")
    more = ("data.num_workers=0", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false")
    result = command("test", *words, *more, "run_dir=run", *TILED)
    assert result.code == 0, result.err
    assert "in tiles of 96x96 pixels" in result.out
    measured = json.loads((tmp_path / "run/predictions.json").read_text())
    for number in (1, 2):
        best = [row for row in measured if row["image_id"] == number and row["score"] >= 0.3]
        given = boxes_of(best, number)
        expected = boxes_of(rows, number)
        assert len(given) >= min(len(expected), 90)
        apart = np.abs(given[:, None] - expected).max(axis=2).min(axis=1)
        assert apart.max() < 1e-2


def test_an_image_too_large_to_be_read_at_once_is_read_in_pieces(
    checkpoint: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff_rows, "LARGEST_PX", 40_000)
    large = photo(tmp_path / "in/large.tif", 250, 300, 3)
    photo(tmp_path / "in/small.png", 100, 120, 4)
    photo(tmp_path / "in/wrong.png", 250, 300, 5)
    damaged = photo(tmp_path / "in/damaged.tif", 250, 300, 6)
    damaged.write_bytes(damaged.read_bytes()[:200_000])
    words = (f"ckpt={checkpoint}", "source=in", "save=[coco,crops]", "batch_size=2")
    result = command("predict", *words, "out=out", "on_bad_image=skip", *TILED)
    assert result.code == 0, result.err
    assert result.out.startswith("2 images, ")
    assert "in/damaged.tif cannot be read" in result.err
    assert "in/wrong.png has 300 x 250 pixels, too many to be read at once" in result.err
    assert "1 images are read in pieces, and not drawn" in result.err
    assert (tmp_path / "out/small.png").is_file() and not (tmp_path / "out/large.tif").exists()
    rows = json.loads((tmp_path / "out/predictions.json").read_text())
    in_memory = Predictor.load(
        checkpoint, device="cpu", score_threshold=0.3, tiles="96x96", tiles_overlap=0.25
    )(read_image(large))
    number = next(row["image_id"] for row in rows if row["file_name"] == "large.tif")
    given = boxes_of(rows, number)
    xywh = in_memory.boxes_xyxy.numpy()
    xywh[:, 2:] -= xywh[:, :2]
    # The whole view is shrunk piece by piece: its few boxes may lie a little elsewhere.
    apart = np.abs(xywh[:, None] - given).max(axis=2).min(axis=1)
    assert np.median(apart) < 1e-3 and abs(len(given) - len(xywh)) <= 4


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("predict", ("tiles=600",), "tiles=600: give"),
        ("predict", ("tiles=big",), "tiles=big: give auto, or a size"),
        ("predict", ("tiles=auto", "tiles_overlap=0.9"), "tiles_overlap=0.9: give 0 to 0.5"),
        ("predict", ("tracker=bytetrack",), "tracker=bytetrack: is about a video"),
        ("predict", ("frames=3",), "frames=3: is about a video"),
    ],
)
def test_a_mistake_costs_one_line(
    checkpoint: Path,
    tmp_path: Path,
    command: Command,
    name: str,
    words: tuple[str, ...],
    message: str,
) -> None:
    photo(tmp_path / "a.png", 60, 60)
    result = command(name, f"ckpt={checkpoint}", "source=a.png", "out=out", *words)
    assert result.code == 2 and result.err.startswith("error: ") and result.err.count("\n") == 1
    assert message in result.err, result.err
    assert not (tmp_path / "out").exists()

"""Predictions that become labels, by the command."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.cli.running import Command
from tests.inference.scenes import SIDES, write_checkpoint

from fcos_lightning.data.finding.find import find_layout
from fcos_lightning.data.finding.layout import Options


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "best.ckpt", **SIDES)


def photo(path: Path, seed: int, size: tuple[int, int] = (90, 60)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path)


def test_predictions_are_labels_in_every_format(
    checkpoint: Path, tmp_path: Path, command: Command
) -> None:
    for number, name in enumerate(("a.jpg", "sub/b.png", "sub/c.jpg", "d.png")):
        photo(tmp_path / "in" / name, number)
    (tmp_path / "in" / "broken.jpg").write_text("no image")
    words = (f"ckpt={checkpoint}", "source=in", "on_bad_image=skip")
    formats = "save=[coco,yolo,voc,csv,crops,labelstudio,cvat]"
    result = command("predict", *words, "out=out", formats, "save_images=true", "batch_size=2")
    assert result.code == 0, result.err
    out = tmp_path / "out"
    found = {}
    for word in ("coco", "yolo", "voc", "csv"):
        layout = find_layout(out / word)
        split = layout.read(layout.sets[0], None, Options(cache=False))
        assert sorted(split.truth.file_names) == ["a.jpg", "d.png", "sub/b.png", "sub/c.jpg"]
        names = np.array(split.truth.class_names)[split.truth.labels]
        images = np.repeat(split.truth.file_names, np.diff(split.truth.first_box))
        boxes = split.truth.boxes_xyxy.round(2).tolist()
        found[word] = sorted(zip(images.tolist(), names.tolist(), boxes, strict=True))
    assert found["coco"] and all(len(rows) == len(found["coco"]) for rows in found.values())
    for rows in found.values():
        for row, expected in zip(rows, found["coco"], strict=True):
            assert row[:2] == expected[:2]
            np.testing.assert_allclose(row[2], expected[2], atol=0.02)
    crops = [path for path in (out / "crops").rglob("*") if path.is_file()]
    assert len(crops) == len(found["coco"])
    assert (out / "cvat/annotations.xml").is_file() and (out / "labelstudio/tasks.json").is_file()
    assert (out / "a.jpg").is_file() and (out / "predictions.json").is_file()  # as without save=

    plain = command("predict", *words, "out=plain", "save=csv", "draw=false")
    assert plain.code == 0, plain.err
    assert {path.name for path in (tmp_path / "plain").iterdir()} == {"predictions.json", "csv"}
    assert {path.name for path in (tmp_path / "plain/csv").iterdir()} == {"labels.csv"}


def test_a_video_has_labels_by_frame(checkpoint: Path, tmp_path: Path, command: Command) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 52, 38, "bgr0"
        for index in range(4):
            photo(tmp_path / "frame.png", index, (52, 38))
            with Image.open(tmp_path / "frame.png") as frame:
                container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    words = (f"ckpt={checkpoint}", "source=a.mkv", "out=out", "save=[csv,cvat,crops]")
    result = command("predict", *words, "draw=false")
    assert result.code == 0, result.err
    lines = (tmp_path / "out/csv/labels.csv").read_text().splitlines()
    assert lines[0].endswith(",score,frame,track")
    assert {line.split(",")[9] for line in lines[1:]} == {"0", "1", "2", "3"}
    assert 'name="frame_000003"' in (tmp_path / "out/cvat/annotations.xml").read_text()
    assert any((tmp_path / "out/crops").glob("*/a.mkv_000003_0.jpg"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("save=jolo",), "save=jolo: give some of coco"),
        (("save=[coco,7]",), "give text or a list of texts"),
        (("save=5",), "save=5: give text or a list"),
        (("save_images=true",), "save_images=true: needs save="),
        (("save=null",), "save=null: give text or a list"),
    ],
)
def test_a_wrong_format_costs_one_line(
    checkpoint: Path, tmp_path: Path, command: Command, words: tuple[str, ...], message: str
) -> None:
    photo(tmp_path / "in.jpg", 0)
    result = command("predict", f"ckpt={checkpoint}", "source=in.jpg", "out=out", *words)
    assert result.code == 2 and result.err.startswith("error: ") and result.err.count("\n") == 1
    assert message in result.err, result.err
    assert not (tmp_path / "out").exists()

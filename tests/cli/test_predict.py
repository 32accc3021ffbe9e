import json
import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO
from tests.cli.running import Command, Result

from fcos_lightning import build_fcos, load_detector
from fcos_lightning.checkpoints import describe
from fcos_lightning.data.augment import Augmentation, ShorterSide
from fcos_lightning.data.images import read_image
from fcos_lightning.errors import UserError
from fcos_lightning.inference import outputs
from fcos_lightning.inference.outputs import DrawnVideo, drawn_names
from fcos_lightning.inference.pictures.picture import Picture
from fcos_lightning.inference.sources import find_source
from fcos_lightning.inference.videos.video import VideoFile

SIDES = {"shorter_side": 64, "longer_side": 96}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "best.ckpt", **SIDES)


def write_checkpoint(path: Path, named: bool = True, broken: bool = False, **more: object) -> Path:
    """An untrained detector that finds much, and not the same everywhere."""
    torch.manual_seed(0)
    detector = build_fcos(
        num_classes=2,
        class_names=["cat", "dog"] if named else None,
        category_ids=[90, 7] if named else None,
        backbone={"name": "tiny", "weights": None, "norm": "trained"},
        fpn={"channels": 16, "levels": [3, 4, 5]},
        head={"num_convs": 1},
        decoder={"max_detections": 20},
    )
    with torch.no_grad():
        detector.head.cls_logits.bias.copy_(torch.tensor([0.5, -0.5]))
        detector.head.cls_logits.weight.mul_(60)
        detector.head.box_ltrb.bias.fill_(1.5)
        if broken:
            detector.head.box_ltrb.bias.fill_(torch.nan)
    weights = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    torch.save({"state_dict": weights, "fcos": describe(detector, **more)}, path)
    return path


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth noise, which JPEG and H.264 keep almost as it is."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def save(path: Path, height: int, width: int, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(height, width, seed)).save(path)
    return path


def truncated(path: Path) -> Path:
    save(path, 80, 80)
    path.write_bytes(path.read_bytes()[:-400])
    return path


def clip(path: Path, frames: int = 10, codec: str = "ffv1") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(30000, 1001))
        stream.width, stream.height = 51, 37
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "rgb24"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(37, 51, index), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decoded(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def rows_of(out: Path) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    rows = json.loads((out / "predictions.json").read_text(), parse_constant=refuse)
    assert isinstance(rows, list)
    return rows


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def by_hand(checkpoint: Path, files: list[Path]) -> list[NDArray[np.float64]]:
    """Boxes xywh in pixels of the files, of one batch, worked out step by step."""
    resize = Augmentation([ShorterSide(64, 96)])
    images = [read_image(file) for file in files]
    small = [resize(image, np.zeros((0, 4)), np.zeros(0, np.int64), 0)[0] for image in images]
    detector = load_detector(checkpoint)
    found = detector.detect([torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in small])
    boxes = []
    for detections, image, resized in zip(found, images, small, strict=True):
        x1, y1, x2, y2 = detections.boxes_xyxy[detections.scores >= 0.3].double().numpy().T
        sx, sy = image.shape[1] / resized.shape[1], image.shape[0] / resized.shape[0]
        boxes.append(np.stack([x1 * sx, y1 * sy, (x2 - x1) * sx, (y2 - y1) * sy], axis=1))
    return boxes


def refused(result: Result, *words: str) -> None:
    assert result.code == 2, (result.out, result.err)
    assert result.err.startswith("error: ") and len(result.err.splitlines()) == 1, result.err
    for word in words:
        assert word in result.err


def test_the_command_from_a_shell(checkpoint: Path, tmp_path: Path) -> None:
    source = tmp_path / "my photos (1), a=b"
    save(source / "b.jpg", 40, 70)
    save(source / "sub" / "a.png", 90, 33, seed=1)
    save(source / "c.gif", 50, 50, seed=2)
    save(source / ".hidden.jpg", 50, 50)
    (source / "notes.txt").write_text("no image")
    words = [f"ckpt={checkpoint}", f"source={source}", "out=007", "batch_size=2"]
    done = subprocess.run(
        [sys.executable, "-m", "fcos_lightning.cli.predict", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    out = tmp_path / "007"
    rows = rows_of(out)
    assert done.stdout.startswith(f"3 images, {len(rows)} detections, in 007, ")
    assert done.stdout.endswith(" images/s\n") and done.stdout.count("\n") == 1
    assert names_in(out) == {"b.jpg", "sub/a.png", "c.jpg", "predictions.json"}
    assert {(row["image_id"], row["file_name"]) for row in rows} == {
        *((1, "b.jpg"), (2, "c.gif"), (3, "sub/a.png"))
    }
    assert {(row["category_id"], row["category_name"]) for row in rows} == {(90, "cat"), (7, "dog")}
    assert all(row["score"] >= 0.3 for row in rows)
    assert not any("frame" in row for row in rows)

    truth = COCO()
    truth.dataset = {"images": [{"id": number} for number in (1, 2, 3)], "categories": []}
    truth.createIndex()
    assert len(truth.loadRes(str(out / "predictions.json")).anns) == len(rows)


def test_help_and_mistakes_need_no_torch() -> None:
    loaded = "{'torch', 'lightning', 'PIL', 'av'} & set(sys.modules)"
    code = f"import sys, fcos_lightning.cli.predict; assert not {loaded}, {loaded}"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_boxes_lie_in_the_original_images(
    checkpoint: Path, tmp_path: Path, command: Command, batch_size: int
) -> None:
    sizes = [(40, 70), (301, 120), (64, 64)]
    files = [save(tmp_path / "in" / f"{i}.png", *size, seed=i) for i, size in enumerate(sizes)]
    words = ("source=in", "out=out", f"batch_size={batch_size}")
    assert command("predict", f"ckpt={checkpoint}", *words).code == 0
    batches = [files] if batch_size == 3 else [[file] for file in files]
    expected = [boxes for batch in batches for boxes in by_hand(checkpoint, batch)]
    rows = rows_of(tmp_path / "out")
    for number, (boxes, (height, width)) in enumerate(zip(expected, sizes, strict=True), 1):
        given = np.array([row["bbox"] for row in rows if row["image_id"] == number])
        assert len(boxes) > 0
        np.testing.assert_allclose(given, boxes, atol=1e-3)
        right, bottom = (given[:, :2] + given[:, 2:]).max(axis=0)
        assert right <= width + 1e-3 and bottom <= height + 1e-3
        assert (given[:, :2] >= 0).all()


def test_what_is_drawn_is_what_the_json_says(
    checkpoint: Path, tmp_path: Path, command: Command
) -> None:
    file = save(tmp_path / "one.png", 300, 400)
    words = (f"ckpt={checkpoint}", "source=one.png", "decoder.max_detections=1")
    assert command("predict", *words, "out=a/b").code == 0
    (row,) = rows_of(tmp_path / "a/b")
    before, after = read_image(file).astype(int), read_image(tmp_path / "a/b/one.png").astype(int)
    changed = np.argwhere((before != after).any(axis=2))
    x, y, width, height = row["bbox"]
    assert len(changed) > width + height  # two sides at least
    slack = 25  # of the line, and of the name
    assert (changed >= np.array([y, x]) - slack).all()
    inside = (changed > [y + slack, x + 90]).all(axis=1)
    inside &= (changed < [y + height - slack, x + width - slack]).all(axis=1)
    assert not inside.any()

    # Nothing is strong enough: the picture stays as it is, and the list is empty.
    assert command("predict", *words, "out=none", "score_threshold=1").code == 0
    assert rows_of(tmp_path / "none") == []
    assert (read_image(tmp_path / "none" / "one.png") == before).all()

    assert command("predict", *words, "out=all", "score_threshold=0", "draw=false").code == 0
    assert names_in(tmp_path / "all") == {"predictions.json"}


def test_settings_of_the_user_come_before_those_of_the_checkpoint(
    checkpoint: Path, tmp_path: Path, command: Command
) -> None:
    save(tmp_path / "one.png", 100, 100)
    nameless = write_checkpoint(tmp_path / "nameless.ckpt", named=False)
    words = (f"ckpt={nameless}", "source=one.png")
    refused(command("predict", *words, "out=a"), "shorter_side= and longer_side=", "nameless.ckpt")
    refused(command("predict", *words, "out=a", "shorter_side=64"), "give longer_side=")
    refused(
        command("predict", f"ckpt={checkpoint}", "source=one.png", "out=a", "shorter_side=100"),
        "longer_side=96 is below shorter_side=100",
    )
    assert not (tmp_path / "a").exists()
    sides = ("shorter_side=64", "longer_side=96")
    assert command("predict", *words, *sides, "out=a").code == 0
    assert command("predict", f"ckpt={checkpoint}", "source=one.png", "out=b").code == 0
    first, second = rows_of(tmp_path / "a"), rows_of(tmp_path / "b")
    assert [row["bbox"] for row in first] == [row["bbox"] for row in second]
    assert {(row["category_id"], row["category_name"]) for row in first} == {(0, "0"), (1, "1")}
    larger = ("shorter_side=80", "longer_side=96")
    assert command("predict", *words, *larger, "out=c").code == 0
    assert [row["bbox"] for row in rows_of(tmp_path / "c")] != [row["bbox"] for row in first]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("source=absent",), "source=absent: no such file or folder"),
        (("source=empty",), "holds no image (0 files"),
        (("source=clips",), "source=clips/a.mkv"),
        (("source=absent/**/*.jpg",), "matches no file"),
        (("source=clips/*",), "matches no image (1 files"),
        (("source=text.jpg",), "text.jpg is not an image"),
        (("source=text.mp4",), "video text.mp4 cannot be read"),
        (("source=sound.mp4",), "only sound"),
        (("source=one.png", "device=gpu"), "device=gpu: give auto, cpu"),
        (("source=one.png", "device=cuda:99"), "device=cuda:99"),
        (("source=one.png", "batch_size=0"), "batch_size=0: give a whole number"),
        (("source=one.png", "batch_size=1.5"), "batch_size=1.5: give a whole number"),
        (("source=one.png", "score_threshold=30"), "score_threshold=30: give 0 to 1"),
        (("source=one.png", "score_threshold=high"), "score_threshold=high: give a number"),
        (("source=one.png", "shorter_side=0"), "shorter_side=0"),
        (("source=one.png", "on_bad_image=ignore"), "give error or skip"),
        (("source=one.png", "decoder.nms_iou=five"), "model.decoder.nms_iou=five: give a number"),
        (("source=one.png", "ckpt=absent.ckpt"), "absent.ckpt: no such file"),
        (("source=one.png", "out=full"), "out=full: is not empty"),
        (("source=one.png", "out=text.jpg"), "out=text.jpg: is a file"),
        (("source=one.png", "out=text.jpg/deep"), "cannot write text.jpg/deep: text.jpg is a file"),
        ((), "source= is missing"),
    ],
)
def test_a_mistake_costs_one_line_and_leaves_nothing(
    checkpoint: Path, tmp_path: Path, command: Command, words: tuple[str, ...], message: str
) -> None:
    save(tmp_path / "one.png", 64, 64)
    save(tmp_path / "full" / "one.png", 64, 64)
    (tmp_path / "empty").mkdir()
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mkv").touch()
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "text.mp4").write_text("no video")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp")
        silence.sample_rate = 44100
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    before = {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)}
    given = {word.partition("=")[0] for word in words}
    usual = {"ckpt": f"ckpt={checkpoint}", "out": "out=new/deep"}
    added = [word for key, word in usual.items() if key not in given]
    refused(command("predict", *words, *added), message)
    assert {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)} == before
    assert not (tmp_path / "new").exists()


def test_one_broken_file_among_many_costs_its_own_results_only(
    checkpoint: Path, tmp_path: Path, command: Command
) -> None:
    for name in ("a", "c", "d"):
        save(tmp_path / "in" / f"{name}.jpg", 64, 64)
    truncated(tmp_path / "in" / "b.jpg")
    words = (f"ckpt={checkpoint}", "source=in")
    result = command("predict", *words, "out=out", "batch_size=2")
    refused(result, "image in/b.jpg cannot be read", "all else is in out", "on_bad_image=skip")
    assert result.out.startswith("3 images, ")
    assert names_in(tmp_path / "out") == {"a.jpg", "c.jpg", "d.jpg", "predictions.json"}
    assert {row["image_id"] for row in rows_of(tmp_path / "out")} == {1, 3, 4}

    (tmp_path / "in" / "e.jpg").write_text("no image")  # each is named, where there are several
    result = command("predict", *words, "out=two")
    assert result.code == 2 and result.err.splitlines()[-1].startswith("error: 2 images cannot be")
    assert "skipped: image in/b.jpg" in result.err and "in/e.jpg is not an image" in result.err

    (tmp_path / "there").mkdir()  # one that is there is filled as well
    result = command("predict", *words, "out=there", "on_bad_image=skip", "batch_size=2")
    assert result.code == 0 and result.out.startswith("3 images, ")
    assert "skipped: image in/b.jpg" in result.err and result.err.count("\n") == 2
    assert rows_of(tmp_path / "there") == rows_of(tmp_path / "out")

    for policy in ("error", "skip"):
        only_bad = ("source=in/b.*", "out=none", f"on_bad_image={policy}")
        result = command("predict", f"ckpt={checkpoint}", *only_bad)
        refused(result, "nothing of it can be read: image ", "in/b.jpg cannot be read")
        assert not (tmp_path / "none").exists()


def test_a_full_disk_leaves_nothing(
    checkpoint: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "one.png", 64, 64)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    words = (f"ckpt={checkpoint}", "source=one.png", "out=x/y")
    refused(command("predict", *words), "cannot write x/y: No space left on device")
    assert not (tmp_path / "x").exists()


def test_weights_that_are_not_numbers(tmp_path: Path, command: Command) -> None:
    save(tmp_path / "one.png", 64, 64)
    broken = write_checkpoint(tmp_path / "broken.ckpt", broken=True, **SIDES)
    refused(command("predict", f"ckpt={broken}", "source=one.png", "out=out"), "not finite")
    assert not (tmp_path / "out").exists()


def test_a_video_comes_back_as_a_video(checkpoint: Path, tmp_path: Path, command: Command) -> None:
    clip(tmp_path / "street.avi")
    words = (f"ckpt={checkpoint}", "source=street.avi", "batch_size=4")
    result = command("predict", *words, "out=out")
    assert result.code == 0, result.err
    rows = rows_of(tmp_path / "out")
    assert result.out.startswith(f"10 frames, {len(rows)} detections, in out")
    assert {(row["image_id"], row["frame"]) for row in rows} == {(i + 1, i) for i in range(10)}
    assert {row["file_name"] for row in rows} == {"street.avi"}
    assert names_in(tmp_path / "out") == {"street.mp4", "predictions.json"}
    with av.open(str(tmp_path / "out" / "street.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(30000, 1001)
        assert (stream.width, stream.height, stream.pix_fmt) == (52, 38, "yuv420p")
        assert stream.codec_context.name == "h264"
    assert len(decoded(tmp_path / "out" / "street.mp4")) == 10

    # Boxes come from the frame they are said to be on.
    Image.fromarray(picture(37, 51, seed=6)).save(tmp_path / "frame6.png")
    assert command("predict", words[0], "source=frame6.png", "out=still").code == 0
    assert command("predict", *words[:2], "out=single").code == 0
    at_6 = [row["bbox"] for row in rows_of(tmp_path / "single") if row["frame"] == 6]
    np.testing.assert_allclose(at_6, [row["bbox"] for row in rows_of(tmp_path / "still")])

    # Without drawings the frames come through in their order.
    assert command("predict", *words, "out=plain", "score_threshold=1").code == 0
    for index, frame in enumerate(decoded(tmp_path / "plain" / "street.mp4")):
        difference = np.abs(frame[:37, :51].astype(int) - picture(37, 51, index))
        assert difference.mean() < 12


def test_without_h264_the_video_is_mpeg4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    available = outputs._can_encode
    monkeypatch.setattr(
        outputs, "_can_encode", lambda av, name: name != "libx264" and available(av, name)
    )
    assert not available(av, "no_such_codec")
    # A rate that MPEG-4 cannot state exactly: its clock has 16 bit.
    place = DrawnVideo(tmp_path, VideoFile(Path("a.mkv"), Fraction(1000000, 33367), None))
    for index in range(5):
        place.write(None, picture(31, 44, index))  # type: ignore[arg-type]
    place.close()
    with av.open(str(tmp_path / "a.mkv")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "mpeg4"
        assert abs(float(stream.average_rate) - 29.97) < 0.01
    assert len(decoded(tmp_path / "a.mkv")) == 5

    monkeypatch.setattr(outputs, "_can_encode", lambda av, name: False)
    with pytest.raises(UserError, match="draw=false"):
        DrawnVideo(tmp_path, VideoFile(Path("b.mkv"), Fraction(25), None))


def test_a_damaged_video(checkpoint: Path, tmp_path: Path, command: Command) -> None:
    path = clip(tmp_path / "a.avi", codec="png")
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    position, size = packets[5]
    content = bytearray(path.read_bytes())
    content[position : position + size] = bytes(size)
    path.write_bytes(content)
    words = (f"ckpt={checkpoint}", "source=a.avi")
    message = "a.avi is damaged after frame 5"
    result = command("predict", *words, "out=all")
    assert result.code == 2 and message in result.err and "on_bad_image=skip" in result.err
    result = command("predict", *words, "out=out", "on_bad_image=skip")
    assert result.code == 0 and message in result.err
    assert rows_of(tmp_path / "all") == rows_of(tmp_path / "out")
    frames = len(decoded(tmp_path / "out" / "a.mp4"))
    assert 5 < frames < 10
    assert f"{10 - frames} of its 10 frames" in result.err
    assert {row["frame"] for row in rows_of(tmp_path / "out")} == set(range(frames))


def test_without_pyav_videos_say_how_to_install_it(
    checkpoint: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mp4").touch()
    save(tmp_path / "one.png", 64, 64)
    monkeypatch.setitem(sys.modules, "av", None)
    result = command("predict", f"ckpt={checkpoint}", "source=a.mp4", "out=out")
    refused(result, "pip install 'av>=14'")
    assert command("predict", f"ckpt={checkpoint}", "source=one.png", "out=out").code == 0


def test_links_are_followed_and_no_folder_is_entered_twice(
    checkpoint: Path, tmp_path: Path, command: Command
) -> None:
    save(tmp_path / "elsewhere" / "x.jpg", 40, 40)
    save(tmp_path / "elsewhere" / "deep" / "y.jpg", 40, 40)
    save(tmp_path / "in" / "own" / "z.jpg", 40, 40)
    (tmp_path / "in" / "a_second_name").symlink_to(tmp_path / "in" / "own")
    (tmp_path / "in" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "own" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "elsewhere" / "deep" / "back").symlink_to(tmp_path / "in" / "own")
    (tmp_path / "in" / "one.jpg").symlink_to(tmp_path / "elsewhere" / "x.jpg")
    everything = ["more/deep/y.jpg", "more/x.jpg", "one.jpg", "own/z.jpg"]
    for source in ("in", "in/**"):
        found = find_source(str(tmp_path / source))
        assert not isinstance(found, VideoFile) and found.names == everything
    result = command("predict", f"ckpt={checkpoint}", "source=in", "out=out")
    assert result.code == 0 and result.out.startswith("4 images, ")
    assert names_in(tmp_path / "out") == {*everything, "predictions.json"}


def test_pictures_of_other_kinds_are_counted(
    checkpoint: Path, tmp_path: Path, command: Command
) -> None:
    save(tmp_path / "in" / "a.jpg", 40, 40)
    for name in ("phone.HEIC", "sub/clip.mov", "notes.txt", ".hidden.heic"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).touch()
    result = command("predict", f"ckpt={checkpoint}", "source=in", "out=out")
    assert result.code == 0
    assert result.err.startswith("passed over: 2 files of kinds that are not read from folders (1 ")
    assert "1 .heic" in result.err and result.err.count("\n") == 1
    assert "convert photographs to JPEG" in result.err


def test_very_long_pictures(checkpoint: Path, tmp_path: Path, command: Command) -> None:
    long = np.zeros((2, 40_000, 3), dtype=np.uint8)
    for name in ("a.png", "b.jpg", "c.tif"):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(long).save(tmp_path / "in" / name)
    Image.fromarray(long.transpose(1, 0, 2)[:16_383]).save(tmp_path / "in" / "d.webp")
    result = command("predict", f"ckpt={checkpoint}", "source=in", "out=out", "score_threshold=0")
    assert result.code == 0, result.err
    assert names_in(tmp_path / "out") == {"a.png", "b.jpg", "c.tif", "d.webp", "predictions.json"}


@pytest.mark.parametrize(("ending", "side"), [(".webp", 16_384), (".jpg", 65_501)])
def test_a_drawing_too_long_for_its_format_is_a_png(ending: str, side: int, tmp_path: Path) -> None:
    drawings = outputs.DrawnImages(tmp_path, [f"a{ending}"])
    long = np.zeros((1, side, 3), dtype=np.uint8)
    drawings.write(Picture(1, f"a{ending}", long), long)
    assert read_image(tmp_path / f"a{ending}.drawn.png").shape == (1, side, 3)


SLOW = """
import time
import fcos_lightning.inference.outputs as folder
original = folder.ResultsFile.write
def write(self, *args):
    original(self, *args)
    if args[0].number == 3:
        print("begun", flush=True)
        for _ in range(600):  # a signal that comes just before a sleep is seen after it
            time.sleep(0.1)
folder.ResultsFile.write = write
from fcos_lightning.cli.predict import main
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("signum", "there"),
    [
        (signal.SIGINT, False),
        (signal.SIGTERM, True),
        (signal.SIGKILL, False),
        (signal.SIGKILL, True),
    ],
)
def test_stopped_in_the_midst_the_same_command_works_again(
    checkpoint: Path, tmp_path: Path, command: Command, signum: signal.Signals, there: bool
) -> None:
    for number in range(5):
        save(tmp_path / "in" / f"{number}.png", 40, 40)
    out = tmp_path / "out"
    if there:
        out.mkdir()
    words = [f"ckpt={checkpoint}", "source=in", "out=out", "device=cpu"]
    running = subprocess.Popen(
        [sys.executable, "-c", SLOW, *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stdout is not None and running.stdout.readline() == "begun\n"
    running.send_signal(signum)
    _, err = running.communicate(timeout=60)
    drafts = list((out if there else tmp_path).glob(".out.*"))
    assert len(drafts) == (signum == signal.SIGKILL)  # then nobody was left to remove it
    if signum != signal.SIGKILL:
        assert (running.returncode, err) == (128 + signum, f"stopped by {signum.name}\n")
    # Nothing stands under a final name.
    assert out.exists() == there and (not there or set(out.iterdir()) == set(drafts))
    result = command("predict", *words)
    assert result.code == 0, result.err
    assert len(names_in(out)) == 6 and set(tmp_path.iterdir()) == {tmp_path / "in", out}


def test_no_two_images_share_a_drawing() -> None:
    names = ["a.gif", "a.jpg", "a.ppm", "a.JPG", "s/a.gif", "t.jpg/b.png", "t.tga", "u.v.webp"]
    drawn = drawn_names(names)
    assert list(sorted(drawn)) == sorted(names)
    assert len({name.casefold() for name in drawn.values()}) == len(names)
    assert drawn["a.jpg"] == "a.jpg" and drawn["a.gif"] == "a.gif.jpg"
    assert drawn["s/a.gif"] == "s/a.jpg" and drawn["u.v.webp"] == "u.v.webp"
    assert drawn["t.tga"] == "t.tga.jpg"  # t.jpg is a folder


def test_pictures_are_turned_as_their_camera_says(
    checkpoint: Path, tmp_path: Path, command: Command
) -> None:
    upright = save(tmp_path / "in" / "a.png", 40, 80)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(upright) as image:
        lying = image.transpose(Image.Transpose.ROTATE_90)
        lying.save(tmp_path / "in" / "b.png", exif=exif)
    assert command("predict", f"ckpt={checkpoint}", "source=in", "out=out").code == 0
    rows = rows_of(tmp_path / "out")
    boxes = [[row["bbox"] for row in rows if row["image_id"] == number] for number in (1, 2)]
    assert boxes[0] == boxes[1] != []
    drawn = [read_image(tmp_path / "out" / name) for name in ("a.png", "b.png")]
    np.testing.assert_array_equal(*drawn)

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cli.running import Command
from torchvision.models.detection import fcos_resnet50_fpn

from fcos_lightning import load_detector


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torchvision's detector with COCO's 91 categories, and what it finds is not nothing."""
    torch.manual_seed(0)
    model = fcos_resnet50_fpn(weights=None, weights_backbone=None)
    torch.nn.init.constant_(model.head.classification_head.cls_logits.bias, 0.0)
    file = tmp_path_factory.mktemp("foreign") / "fcos.pth"
    torch.save(model.state_dict(), file)
    return file


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Two images, their boxes of COCO's categories 18 and 90."""
    folder = tmp_path / "coco"
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number, category in ((1, 18), (2, 90)):
        name = f"{number}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (64, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / name)
        images.append({"id": number, "file_name": name, "height": 64, "width": 96})
        box = {"id": number, "image_id": number, "category_id": category, "bbox": [8, 8, 40, 40]}
        annotations.append({**box, "area": 1600, "iscrowd": 0})
    categories = [{"id": 18, "name": "dog"}, {"id": 90, "name": "toothbrush"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder


def test_converted_and_back(command: Command, foreign: Path, tmp_path: Path) -> None:
    result = command("convert", f"ckpt={foreign}", "out=models/ours.safetensors")
    assert result.code == 0, result.err
    assert "fcos.pth (torchvision): resnet50, 91 classes" in result.out
    image = [torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)]
    ours, theirs = (load_detector(f) for f in (tmp_path / "models/ours.safetensors", foreign))
    assert torch.equal(ours.predict(image).ltrb_px, theirs.predict(image).ltrb_px)
    result = command(
        "convert", "ckpt=models/ours.safetensors", "layout=torchvision", "out=back.pth"
    )
    assert result.code == 0 and result.err == ""
    back, before = (torch.load(f, weights_only=True) for f in ("back.pth", foreign))
    assert back.keys() == before.keys()
    assert all(torch.equal(back[key], before[key]) for key in before)


def test_the_mean_of_several(command: Command, foreign: Path, tmp_path: Path) -> None:
    weights = torch.load(foreign, weights_only=True)
    other = {k: v + 1 if v.is_floating_point() else v for k, v in weights.items()}
    torch.save(other, tmp_path / "epoch=1.pth")
    result = command("convert", str(foreign), "epoch=1.pth", "out=mean.safetensors")
    assert result.code == 0, result.err
    assert "the mean of 2 checkpoints (torchvision): resnet50" in result.out
    before, after = (load_detector(f).state_dict() for f in (foreign, "mean.safetensors"))
    for key, value in before.items():
        # Scales of levels, which torchvision has none of, are 1.
        moved = value + 0.5 if value.is_floating_point() and key != "head.scales" else value
        assert torch.allclose(after[key], moved, atol=1e-5), key
    for words, said in (
        ((f"average=[{foreign}]",), "two checkpoints or more"),
        ((str(foreign), f"ckpt={foreign}"), "give one of the two"),
        ((str(foreign), "none.pth"), "no such file"),
        ((str(foreign), "epoch=1.pth", "out=epoch=1.pth"), "is the checkpoint itself"),
    ):
        result = command("convert", "out=a.pth", "layout=torchvision", *words)
        assert result.code == 2 and said in result.err, result.err
        assert len(result.err.strip().splitlines()) == 1
    assert not (tmp_path / "a.pth").exists()


def test_a_file_that_is_there_is_replaced_only_where_that_is_said(
    command: Command, foreign: Path, tmp_path: Path
) -> None:
    for words in (("out=a.safetensors",), ("out=a.pth", "layout=torchvision")):
        file = tmp_path / words[0].removeprefix("out=")
        file.write_text("mine")
        refused = command("convert", f"ckpt={foreign}", *words)
        assert refused.code == 2 and "is there already" in refused.err
        assert file.read_text() == "mine" and len(refused.err.strip().splitlines()) == 1
    result = command("convert", f"ckpt={foreign}", "out=a.safetensors", "overwrite=true")
    assert result.code == 0 and (tmp_path / "a.safetensors").stat().st_size > 1000, result.err


def test_mistakes_are_one_line(command: Command, foreign: Path, tmp_path: Path) -> None:
    ckpt = f"ckpt={foreign}"
    for words, said in (
        ((), "ckpt= is missing"),
        ((ckpt,), "out= is missing"),
        ((ckpt, "out=a.pth"), "a name ending in .safetensors"),
        ((ckpt, "out=a.safetensors", "layout=caffe"), "give plain or torchvision"),
        ((ckpt, "out=a.onnx", "model=as_init"), "leave the model out"),
        ((ckpt, "out=a.safetensors", "recipe=plain"), "whose recipes are improved"),
        ((ckpt, f"out={foreign}", "layout=torchvision"), "is the checkpoint itself"),
        (("ckpt=none.pth", "out=a.safetensors"), "no such file"),
    ):
        result = command("convert", *words)
        assert result.code == 2 and said in result.err
        assert len(result.err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_foreign_checkpoints_are_tested(command: Command, foreign: Path, coco: Path) -> None:
    result = command("test", f"ckpt={foreign}")
    assert result.code == 2 and "give data=NAME" in result.err
    assert len(result.err.strip().splitlines()) == 1
    words = (
        "data=coco",
        f"data.root={coco}",
        "data.annotations=instances.json",
        "data.images=images",
        "data.shorter_side=64",
        "data.longer_side=96",
        "data.num_workers=0",
        "run_dir=tested",
    )
    result = command("test", f"ckpt={foreign}", *words)
    assert result.code == 0, result.err
    rows = json.loads(Path("tested/predictions.json").read_text())
    assert rows and {row["category_id"] for row in rows} <= set(range(91))


def test_foreign_checkpoints_predict(command: Command, foreign: Path, coco: Path) -> None:
    result = command(
        "predict", f"ckpt={foreign}", f"source={coco}/images", "out=found", "score_threshold=0",
        "shorter_side=64", "longer_side=96", "device=cpu",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert json.loads(Path("found/predictions.json").read_text())

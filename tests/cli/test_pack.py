"""``fcos-pack``, and runs on what it has packed: the same as on the folder, without a password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from tests.cli.running import Command
from tests.object_storage import ObjectStorage, object_storage, upload

from fcos_lightning.data.shapes.drawn import write_shapes

RUN = (
    *("experiment=finetune", "model=tiny", "init_from=null", "augment=flip"),
    *("data.batch_size=4", "data.eval_batch_size=4", "data.num_workers=0"),
    *("data.shorter_side=64", "data.longer_side=64", "model.fpn.channels=16"),
    *("model.head.num_convs=1", "schedule.max_epochs=2", "callbacks.progress=null"),
    *("trainer.accelerator=cpu", "callbacks.previews=null", "report=false"),
)
SECRET = "a-secret-that-must-not-be-seen"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("drawn") / "data", train=24, val=8, size=64)


@pytest.fixture(scope="module")
def served() -> Iterator[ObjectStorage]:
    with object_storage() as server:
        yield server


def weights(run: Path) -> dict[str, torch.Tensor]:
    content = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    state: dict[str, torch.Tensor] = content["state_dict"]
    return state


def everything(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def test_a_run_on_packed_data_is_that_on_the_folder(
    command: Command, drawn: Path, served: ObjectStorage, tmp_path: Path
) -> None:
    packed = command("pack", f"data.root={drawn}", "out=s3://bucket/data", "shard_mb=0.02")
    assert packed.code == 0, packed.err
    assert packed.out.splitlines()[0].startswith("train: 24 images and ")
    assert packed.out.splitlines()[-1] == "read it by data.root=s3://bucket/data"
    told = packed.out + packed.err
    for root, name in ((str(drawn), "folder"), ("s3://bucket/data", "packed")):
        result = command("train", *RUN, f"data.root={root}", f"run_dir={name}")
        assert result.code == 0, result.err
        told += result.out + result.err
    assert "shards, packed from COCO's own layout" in told and "source=IMAGES" in told
    expected, found = weights(tmp_path / "folder"), weights(tmp_path / "packed")
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    for name in ("metrics.json", "predictions.json"):
        assert (tmp_path / "folder" / name).read_text() == (tmp_path / "packed" / name).read_text()

    given = ("ckpt=packed/checkpoints/best.ckpt", "run_dir=tested")
    refused = command("test", *given)  # a checkpoint may be a stranger's
    assert refused.code == 2 and "its data are at s3://bucket/data, and nothing" in refused.err
    tested = command("test", *given, "data.root=s3://bucket/data")
    assert tested.code == 0, tested.err
    config = yaml.safe_load((tmp_path / "packed" / "config.yaml").read_text())
    assert config["data"]["root"] == "s3://bucket/data"
    told += tested.out + tested.err
    assert "fcos-test ckpt=packed/checkpoints/best.ckpt data.root=s3://bucket/data" in told
    again = command("train", "resume=packed", "schedule.max_epochs=3")
    assert again.code == 2 and "'s3://bucket/data'" in again.err, again.err
    longer = ("schedule.max_epochs=3", "data.root=s3://bucket/data", "data.cache_gb=1")
    again = command("train", "resume=packed", *longer)
    assert again.code == 0, again.err
    for kept in (everything(tmp_path), told.encode()):
        assert SECRET.encode() not in kept and b"AKIAEXAMPLE" not in kept


def test_a_terminal_shows_how_much_is_left(
    command: Command, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes standard error for a terminal
    packed = command("pack", f"data.root={drawn}", f"out={tmp_path / 'packed'}")
    assert packed.code == 0, packed.err
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", packed.err)
    assert re.search(r"packing .* 32/32 .* 0:00:00", said), said  # 24 images and 8


def test_a_run_goes_on_within_an_epoch_of_shards(
    command: Command, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    words = (*RUN, "data.root=packed", "data.shuffle_window=2")
    assert command("pack", f"data.root={drawn}", "out=packed", "shard_mb=0.02").code == 0
    whole = command("train", *words, "run_dir=whole")
    assert whole.code == 0, whole.err
    stop = ("+callbacks.end._target_=interruptions.AtStep", "+callbacks.end.step=8")
    trusted = ("+callbacks.end.how=SIGTERM", "trusted_packages=[interruptions]")
    cut = command("train", *words, "run_dir=cut", *stop, *trusted)  # of six an epoch
    assert cut.code == 128 + 15 and "after step 8" in cut.out, cut.err
    config = OmegaConf.load(tmp_path / "cut" / "config.yaml")
    assert config.data.shuffle_window == 2
    del config.callbacks.end
    OmegaConf.save(config, tmp_path / "cut" / "config.yaml")
    again = command("train", "resume=cut")
    assert again.code == 0, again.err
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(value, found[key]) for key, value in expected.items())


def test_a_run_on_a_folder_at_an_address_goes_on_within_an_epoch(
    command: Command,
    drawn: Path,
    served: ObjectStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And it is the run on the folder here, whichever of the two it goes on with."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    upload(drawn, "s3://bucket/loose")
    whole = command("train", *RUN, f"data.root={drawn}", "run_dir=whole")
    assert whole.code == 0, whole.err
    stop = ("+callbacks.end._target_=interruptions.AtStep", "+callbacks.end.step=8")
    trusted = ("+callbacks.end.how=SIGTERM", "trusted_packages=[interruptions]")
    cut = command("train", *RUN, "data.root=s3://bucket/loose", "run_dir=cut", *stop, *trusted)
    assert cut.code == 128 + 15 and "after step 8" in cut.out, cut.err
    config = OmegaConf.load(tmp_path / "cut" / "config.yaml")
    assert config.data.root == "s3://bucket/loose" and config.data.shuffle_window is None
    del config.callbacks.end
    OmegaConf.save(config, tmp_path / "cut" / "config.yaml")
    unasked = command("train", "resume=cut")
    assert unasked.code == 2 and "'s3://bucket/loose'" in unasked.err
    again = command("train", "resume=cut", "data.root=s3://bucket/loose")
    assert again.code == 0, again.err
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    for name in ("metrics.json", "predictions.json"):
        assert (tmp_path / "whole" / name).read_text() == (tmp_path / "cut" / name).read_text()
    told = cut.out + cut.err + again.out + again.err
    for kept in (everything(tmp_path), told.encode()):
        assert SECRET.encode() not in kept and b"AKIAEXAMPLE" not in kept
    assert str(tmp_path / "cache") not in told


def test_a_folder_at_an_address_is_packed_as_the_one_here(
    command: Command,
    drawn: Path,
    served: ObjectStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import s3fs

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    upload(drawn, "s3://bucket/unpacked")
    words = ("data.root=s3://bucket/unpacked", "out=s3://bucket/from_there", "shard_mb=0.02")
    packed = command("pack", *words)
    assert packed.code == 0, packed.err
    assert command("pack", f"data.root={drawn}", "out=here", "shard_mb=0.02").code == 0
    system = s3fs.S3FileSystem()
    names = {path.rsplit("/", 1)[-1] for path in system.ls("s3://bucket/from_there")}
    assert names == {file.name for file in (tmp_path / "here").iterdir()}
    for name in names:
        there = system.cat_file(f"s3://bucket/from_there/{name}")
        assert there == (tmp_path / "here" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train", ("experiment=finetune", "data.root=s3://KEY:SECRET@bucket/x")),
        ("train", ("-m", "experiment=finetune", "data.root=s3://a/b,s3://KEY:SECRET@bucket/x")),
        ("test", ("ckpt=none.ckpt", "data=auto", "data.root=https://host/x?sig=SECRET")),
        ("pack", ("data.root=x", "out=https://KEY:SECRET@host/x")),
        ("train", ("--cfg", "job", "data.root=s3://KEY:SECRET@bucket/x")),
    ],
)
def test_a_password_is_refused_before_anything_is_written(
    name: str, words: tuple[str, ...], command: Command, tmp_path: Path
) -> None:
    result = command(name, *words)
    assert result.code == 2 and "leave them out" in result.err
    assert len(result.err.splitlines()) == 1
    assert "SECRET" not in result.out + result.err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("data.root=DATA",), "out= is missing"),
        (("out=x",), "data.root is missing"),
        (("data.root=DATA", "out=x", "shard_mb=0"), "shard_mb=0: give a number of megabytes"),
        (("data.root=DATA", "out=x", "shard_mb=much"), "shard_mb=much: give a number"),
        (("data.root=nowhere", "out=x"), "data.root=nowhere: does not exist"),
        (("data.root=DATA", "out=DATA"), "holds something already"),
        (("data.root=DATA", "out=x", "shards=3"), "shard_mb"),
        (("data.root=DATA", "out=s3://no-such-bucket/x"), "s3://no-such-bucket/x"),
    ],
)
def test_a_mistake_is_one_line(
    words: tuple[str, ...], said: str, command: Command, drawn: Path, served: ObjectStorage
) -> None:
    before = everything(drawn)
    result = command("pack", *(word.replace("DATA", str(drawn)) for word in words))
    assert result.code == 2 and len(result.err.splitlines()) == 1, result.err
    assert said in result.err and everything(drawn) == before

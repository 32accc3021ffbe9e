from __future__ import annotations

import hashlib
import importlib.util
import re
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
from tests.served_files import Site, left, make_tar, make_zip

from fcos_lightning.data import public_sets

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def script(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def coco(site: Site, tmp_path: Path) -> Site:
    build = tmp_path / "build"
    build.mkdir()
    for split in ("train2017", "val2017"):
        zipped = make_zip(build / "a.zip", {f"{split}/{i:012d}.jpg": b"jpeg" * 9 for i in range(3)})
        site.files[f"/zips/{split}.zip"] = zipped.read_bytes()
    lists = {f"annotations/instances_{s}2017.json": b"{}" for s in ("train", "val")}
    zipped = make_zip(build / "a.zip", lists)
    site.files["/annotations/annotations_trainval2017.zip"] = zipped.read_bytes()
    return site


@pytest.fixture
def voc(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    build = tmp_path / "build"
    build.mkdir()
    tiny = []
    for archive in public_sets.VOC:
        year, split = archive.split.split("-")
        below = f"VOCdevkit/VOC{year}"
        members = {
            f"{below}/ImageSets/Main/{split}.txt": b"000001\n",
            f"{below}/JPEGImages/{split}1.jpg": b"jpeg",
            f"{below}/Annotations/{split}1.xml": b"<annotation/>",
        }
        content = make_tar(build / "a.tar", members).read_bytes()
        site.files[f"/{archive.path}"] = content
        tiny.append(replace(archive, md5=hashlib.md5(content).hexdigest()))
    monkeypatch.setattr(public_sets, "VOC", tuple(tiny))
    return site


def run_coco(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPTS / "download_coco.py", *arguments, "--base-url", site.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_coco_full_road(coco: Site, tmp_path: Path) -> None:
    root = tmp_path / "coco"
    coco.cuts = [150]  # the first archive comes in two pieces
    end = run_coco(coco, str(root), "--splits", "train2017", "val2017")
    (line,) = end.stderr.splitlines()
    assert end.returncode == 0
    assert "the connection closed at byte 150 of " in line and line.endswith(
        "; trying again in 1 s"
    )
    assert f"fcos-train data=coco data.root={root}" in end.stdout
    assert coco.ranges_asked == [None, "bytes=150-", None, None]
    visible = [name for name in left(root) if not name.startswith(".")]
    images = [f"{s}/{i:012d}.jpg" for s in ("train2017", "val2017") for i in range(3)]
    folders = ["annotations", "train2017", "val2017"]
    lists = [f"annotations/instances_{s}2017.json" for s in ("train", "val")]
    assert visible == sorted([*folders, *lists, *images])
    asked = len(coco.asked)
    again = run_coco(coco, str(root), "--splits", "train2017", "val2017")
    assert again.returncode == 0
    assert again.stdout.count("already in") == 3
    assert len(coco.asked) == asked


def test_coco_of_ones_own_is_recognised(
    coco: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = script("download_coco")
    small = [replace(a, images=2) if a.split == "val2017" else a for a in public_sets.COCO]
    monkeypatch.setattr(module, "COCO", small)
    (tmp_path / "coco" / "val2017").mkdir(parents=True)
    for name in "ab":
        (tmp_path / "coco" / "val2017" / f"{name}.jpg").touch()
    assert module.main([str(tmp_path / "coco"), "--base-url", coco.url, "--splits", "val2017"]) == 0
    assert "val2017: already in" in capsys.readouterr().out
    assert not any(path == "/zips/val2017.zip" for _, path, _ in coco.asked)


def test_coco_dry_run_touches_nothing(coco: Site, tmp_path: Path) -> None:
    end = run_coco(coco, str(tmp_path / "coco"), "--dry-run")
    assert end.returncode == 0
    assert not (tmp_path / "coco").exists()
    assert {method for method, _, _ in coco.asked} == {"HEAD"}
    for archive in public_sets.COCO:
        size = len(coco.files[f"/{archive.path}"])
        assert f"{coco.url}/{archive.path} ({size} bytes) into {tmp_path / 'coco'}" in end.stdout


def test_coco_error_is_one_line_and_status_2(coco: Site, tmp_path: Path) -> None:
    del coco.files["/zips/val2017.zip"]
    end = run_coco(coco, str(tmp_path / "coco"), "--splits", "val2017")
    assert end.returncode == 2
    assert end.stderr.startswith("error: cannot download")
    assert end.stderr.count("\n") == 1
    assert run_coco(coco, str(tmp_path / "coco"), "--splits", "val2018").returncode == 2


def test_coco_disk_too_small(
    coco: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        public_sets.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1000)
    )
    module = script("download_coco")
    assert module.main([str(tmp_path / "coco"), "--base-url", coco.url]) == 2
    assert "1.0 kB free and about" in capsys.readouterr().err
    assert not (tmp_path / "coco").exists()


def test_coco_archive_of_another_layout(
    coco: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_zip(tmp_path / "a.zip", {"images/1.jpg": b"jpeg"}).read_bytes()
    right = coco.files["/zips/val2017.zip"]
    coco.files["/zips/val2017.zip"] = other
    module = script("download_coco")
    arguments = [str(tmp_path / "coco"), "--base-url", coco.url, "--splits", "val2017"]
    assert module.main(arguments) == 2
    assert "does not hold val2017" in capsys.readouterr().err
    coco.files["/zips/val2017.zip"] = right
    assert module.main(arguments) == 0
    assert len(list((tmp_path / "coco" / "val2017").iterdir())) == 3


def test_voc_full_road(voc: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "voc"
    module = script("download_voc")
    voc.cuts = [700]
    arguments = [str(root), "--base-url", voc.url, "--keep-archives"]
    assert module.main([*arguments, "--splits", *(a.split for a in public_sets.VOC)]) == 0
    assert voc.ranges_asked[:2] == [None, "bytes=700-"]
    kit = root / "VOCdevkit"
    assert left(kit / "VOC2007") == [
        "Annotations",
        "Annotations/test1.xml",
        "Annotations/trainval1.xml",
        "ImageSets",
        "ImageSets/Main",
        "ImageSets/Main/test.txt",
        "ImageSets/Main/trainval.txt",
        "JPEGImages",
        "JPEGImages/test1.jpg",
        "JPEGImages/trainval1.jpg",
    ]
    assert (kit / "VOC2012" / "JPEGImages" / "trainval1.jpg").is_file()
    assert len(list(root.glob("*.tar"))) == 3
    assert f"data=voc data.root={root}" in capsys.readouterr().out


def test_voc_archives_go_once_unpacked(voc: Site, tmp_path: Path) -> None:
    root = tmp_path / "voc"
    assert script("download_voc").main([str(root), "--base-url", voc.url]) == 0
    assert not list(root.glob("[!.]*.tar*"))
    assert not (root / "VOCdevkit" / "VOC2012").exists()
    assert not any("2012" in path for _, path, _ in voc.asked)


def test_voc_with_another_md5_is_refused(site: Site, tmp_path: Path) -> None:
    """The official sums, against an archive that is not the official one."""
    archive = make_tar(tmp_path / "a.tar", {"VOCdevkit/VOC2007/x": b"x"})
    site.files["/voc2007/VOCtrainval_06-Nov-2007.tar"] = archive.read_bytes()
    command = [sys.executable, SCRIPTS / "download_voc.py", tmp_path / "voc"]
    command += ["--base-url", site.url, "--splits", "2007-trainval"]
    end = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert end.returncode == 2
    assert "c52e279531787c972589f7e41ab4ae64" in end.stderr
    assert end.stderr.count("\n") == 1
    assert left(tmp_path / "voc") == []


def test_voc_sums_are_torchvisions() -> None:
    # Read, not imported: that would take seconds.
    spec = importlib.util.find_spec("torchvision")
    assert spec and spec.origin
    source = (Path(spec.origin).parent / "datasets" / "voc.py").read_text()
    known = dict(re.findall(r'"filename": "(.*)",\s+"md5": "(.*)"', source))
    for archive in public_sets.VOC:
        if archive.split != "2012-trainval":  # a second entry there repeats this file name
            assert known[archive.file_name] == archive.md5
        assert f'"{archive.md5}"' in source


def test_voc_dry_run_without_a_server_gives_rough_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path / "voc"), "--base-url", "http://127.0.0.1:9", "--dry-run"]
    assert script("download_voc").main(arguments) == 0
    out = capsys.readouterr().out
    assert "(460.0 MB)" in out
    assert "about 1.4 GB of disk space needed" in out
    assert left(tmp_path) == []

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.served_files import CONTENT, Site

from fcos_lightning.checkpoints import published
from fcos_lightning.errors import UserError


@pytest.fixture
def zoo(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    digits = hashlib.sha256(CONTENT).hexdigest()[:8]
    site.files = {"/FCOS_R_50_FPN_1x.pth": CONTENT, f"/net-{digits}.pth": CONTENT}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for source in published.PLACES:
        monkeypatch.setitem(published.PLACES, source, site.url)
    for name, sha256 in (("right", digits), ("wrong", "01234567")):
        entry = published.Published("torchvision", f"net-{digits}.pth", sha256)
        monkeypatch.setitem(published.PUBLISHED, f"torchvision/{name}", entry)
    return site


def test_a_published_checkpoint_is_fetched_once(zoo: Site, tmp_path: Path) -> None:
    zoo.cuts = [100_000]  # the connection breaks, and is taken up
    file = published.checkpoint_file("official/FCOS_R_50_FPN_1x")
    assert file == tmp_path / "cache/fcos-lightning/checkpoints/official/FCOS_R_50_FPN_1x.pth"
    assert file.read_bytes() == CONTENT
    asked = len(zoo.asked)
    assert published.checkpoint_file("official/FCOS_R_50_FPN_1x") == file
    assert len(zoo.asked) == asked


def test_the_digits_in_a_name_are_checked(zoo: Site) -> None:
    assert published.checkpoint_file("torchvision/right").read_bytes() == CONTENT
    with pytest.raises(UserError, match="its sha256 is"):
        published.checkpoint_file("torchvision/wrong")


def test_without_a_server_the_place_of_the_file_is_named(zoo: Site) -> None:
    with pytest.raises(UserError, match=r"http.*_2x\.pth.* put that file at .*FCOS_R_101_FPN_2x"):
        published.checkpoint_file("official/FCOS_R_101_FPN_2x")


def test_where_a_file_is_and_where_it_belongs_stand_whole(
    zoo: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / "of_somebody" / "with_a_long_name_of_a_cache_folder" / ("x" * 60)
    monkeypatch.setenv("XDG_CACHE_HOME", str(deep))
    name = "mmdet/fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco"
    entry = published.PUBLISHED[name]
    with pytest.raises(UserError) as caught:
        published.checkpoint_file(name)
    said = str(caught.value)
    target = deep / "fcos-lightning/checkpoints/mmdet" / Path(entry.path).name
    assert said.count(entry.url) == 1 and said.endswith(f"put that file at {target}")
    assert 300 < len(said) <= 900


def test_names_and_files(zoo: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are official/FCOS_imprv_R_50_FPN_1x"):
        published.checkpoint_file("official/FCOS_imprv_R50_FPN_1x")
    assert published.checkpoint_file("runs/best.ckpt") == Path("runs/best.ckpt")
    (tmp_path / "official").mkdir()
    (tmp_path / "official/FCOS_R_50_FPN_1x").touch()  # a file of the user's comes first
    assert published.checkpoint_file("official/FCOS_R_50_FPN_1x").stat().st_size == 0
    assert len(published.PUBLISHED) >= 15 + 12 + 7 + 1

"""The wheel: what travels in it, and that it works where nothing else of the project is."""

from __future__ import annotations

import configparser
import email
import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built once."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """The files inside."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def text_of(wheel: Path, end: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(end))
        return archive.read(name).decode()


def test_it_is_pure_python(wheel: Path) -> None:
    assert wheel.name.startswith("fcos_lightning-")
    assert wheel.name.endswith("-py3-none-any.whl")


def test_every_choice_of_conf_travels(names: set[str]) -> None:
    inside = {name.removeprefix("fcos_lightning/") for name in names if "/conf/" in name}
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml")}
    assert here
    assert inside == here


def test_every_module_travels(names: set[str]) -> None:
    package = ROOT / "src" / "fcos_lightning"
    here = {path.relative_to(package.parent).as_posix() for path in package.rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == here
    assert "fcos_lightning/py.typed" in names


def test_nothing_else_travels(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    (info,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops == {"fcos_lightning", info}
    package = {name for name in names if name.startswith("fcos_lightning/")}
    pages = ("/reports/templates/", "/inference/deployed/page/", "/serving/page/")
    templates = {name for name in package if any(folder in name for folder in pages)}
    assert {Path(name).suffix for name in templates} == {".html", ".css", ".js"}
    assert {Path(name).suffix for name in package - templates} == {".py", ".yaml", ".typed"}


#: The last versions that a stranger's file can do harm through, and how.
UNSAFE = {
    "torch": ("2.9.1", "CVE-2026-24747: a checkpoint read with weights_only corrupts memory"),
    "lightning": ("2.6.5", "a checkpoint's _class_path and _instantiator are called"),
    "pillow": ("10.2.0", "CVE-2024-28219: a buffer overflow"),
    "opencv-python-headless": ("4.8.0.76", "CVE-2023-4863: its libwebp writes beyond a buffer"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_no_version_is_installed_that_is_known_to_be_unsafe(wheel: Path, name: str) -> None:
    metadata = email.message_from_string(text_of(wheel, "dist-info/METADATA"))
    needed = {r.name: r for r in map(Requirement, metadata.get_all("Requires-Dist") or [])}
    version, why = UNSAFE[name]
    assert version not in needed[name].specifier, why
    assert needed[name].marker is None  # in every installation


def test_the_licence_travels(wheel: Path) -> None:
    assert text_of(wheel, "dist-info/licenses/LICENSE") == (ROOT / "LICENSE").read_text()
    metadata = email.message_from_string(text_of(wheel, "dist-info/METADATA"))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Name"] == "fcos-lightning"


def test_the_commands_lead_somewhere(wheel: Path, names: set[str]) -> None:
    points = configparser.ConfigParser(delimiters=("=",))
    points.read_string(text_of(wheel, "dist-info/entry_points.txt"))
    assert dict(points["console_scripts"]) == {
        f"fcos-{command}": f"fcos_lightning.cli.{command}:main"
        for command in (
            "doctor",
            "explain",
            "train",
            "test",
            "report",
            "compare",
            "predict",
            "convert",
            "pack",
            "serve",
        )
    }
    for target in points["console_scripts"].values():
        module = target.split(":")[0].replace(".", "/") + ".py"
        assert module in names
        with zipfile.ZipFile(wheel) as archive:
            assert "\ndef main(" in archive.read(module).decode()


@pytest.fixture(scope="module")
def commands(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment with the wheel, and without this checkout.

    Torch and the other libraries are borrowed from the environment the tests run in: a ``.pth``
    file puts its packages behind the new one's own. Where the checkout is installed there too, the
    wheel comes first.
    """
    home = tmp_path_factory.mktemp("installed") / "env"
    venv.create(home, with_pip=True, symlinks=True)
    binaries = home / "bin"
    paths = subprocess.run(
        [binaries / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    own = Path(paths.stdout.strip())
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (own / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    pip = [binaries / "python", "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--force-reinstall", wheel], check=True)
    return binaries


def run(commands: Path, folder: Path, name: str, *arguments: str) -> str:
    """Run an installed command somewhere else, with nothing of the tests' own settings."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [commands / name, *arguments],
        cwd=folder,
        env={**environment, "XDG_CACHE_HOME": str(folder / "cache")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_installed_package_is_the_wheels(commands: Path, tmp_path: Path) -> None:
    code = "import fcos_lightning, fcos_lightning.cli.app as a; print(fcos_lightning.__file__)"
    lines = run(commands, tmp_path, "python", "-c", f"{code}; print(a.config_dir())").split()
    environment = str(commands.parent)
    assert all(line.startswith(environment) for line in lines), lines
    assert lines[1].endswith("fcos_lightning/conf")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcos-train", "fcos-test", "fcos-predict", "fcos-convert"])
def test_installed_help(commands: Path, tmp_path: Path, name: str) -> None:
    printed = run(commands, tmp_path, name, "--help")
    assert name in printed
    assert not list(tmp_path.iterdir()), "help writes nothing"


@pytest.mark.slow
def test_twenty_steps_test_and_prediction(commands: Path, tmp_path: Path) -> None:
    images = ["data.train_images=32", "data.val_images=8", "data.num_workers=0"]
    printed = run(
        commands,
        tmp_path,
        "fcos-train",
        "experiment=quickstart",
        "trainer.max_steps=20",
        "trainer.accelerator=cpu",
        *images,
    )
    assert "AP50" in printed
    (folder,) = (tmp_path / "runs" / "quickstart").iterdir()
    best = folder / "checkpoints" / "best.ckpt"
    assert best.is_file()
    figures = json.loads((folder / "metrics.json").read_text())
    assert 0 <= figures["AP50"] <= 1

    run(
        commands,
        tmp_path,
        "fcos-test",
        f"ckpt={best}",
        "trainer.accelerator=cpu",
        "data.num_workers=0",
        "run_dir=tested",
    )
    again = json.loads((tmp_path / "tested" / "metrics.json").read_text())
    assert again == figures

    source = next((tmp_path / "cache").rglob("val/*.png"), None) or next(
        (tmp_path / "cache").rglob("val/*.jpg")
    )
    run(
        commands,
        tmp_path,
        "fcos-predict",
        f"ckpt={best}",
        f"source={source}",
        "out=predicted",
        "device=cpu",
    )
    assert any((tmp_path / "predicted").iterdir())

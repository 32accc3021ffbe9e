"""``make train`` on machines that lack this or that.

It runs in a folder with our Makefile and a project of nothing, whose build needs no download.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("awk", "echo", "find", "make", "mkdir", "rm", "rmdir", "touch")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""

BACKEND = '''\
"""Builds a wheel with one command, fcos-train, that prints its arguments."""
import pathlib
import zipfile

FILES = {
    "stand_in.py": "import sys\\ndef main(): print('trained', *sys.argv[1:])\\n",
    "{}METADATA": (
        "Metadata-Version: 2.1\\nName: stand-in\\nVersion: 0\\nProvides-Extra: dev\\n"
    ),
    "{}WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "{}entry_points.txt": "[console_scripts]\\nfcos-train = stand_in:main\\n",
    "{}RECORD": "",
}


def build_editable(folder, config_settings=None, metadata_directory=None):
    wheel = pathlib.Path(folder, "stand_in-0-py3-none-any.whl")
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in FILES.items():
            archive.writestr(name.format("stand_in-0.dist-info/"), text)
    return wheel.name
'''


class Machine:
    """A folder with the project and a ``PATH`` on which only some commands exist."""

    def __init__(self, folder: Path) -> None:
        # A blank in the name: checkouts lie in such folders, too.
        self.project = folder / "my project"
        self.bin = folder / "bin"
        self.project.mkdir()
        self.bin.mkdir()
        shutil.copy(ROOT / "Makefile", self.project)
        (self.project / "pyproject.toml").write_text(PYPROJECT)
        (self.project / "backend.py").write_text(BACKEND)
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, tool
            (self.bin / tool).symlink_to(found)

    @property
    def venv(self) -> Path:
        return self.project / ".venv"

    def script(self, name: str, body: str) -> None:
        """Put a command on the path, in place of a link to the machine's own."""
        (self.bin / name).unlink(missing_ok=True)  # writing would follow the link
        (self.bin / name).write_text(f"#!/bin/sh\n{body}\n")
        (self.bin / name).chmod(0o755)

    def python(self, name: str) -> None:
        """Put the interpreter of the tests on the path."""
        self.script(name, f'exec "{sys.executable}" "$@"')

    @property
    def environment(self) -> dict[str, str]:
        # What make hands down when it runs the tests would change the make under test.
        hidden = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON", "PYTHONPATH", "ARGS", "VENV")
        kept = {key: value for key, value in os.environ.items() if key not in hidden}
        return {**kept, "PATH": str(self.bin)}

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *arguments],
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a call that failed, without make's own remark on it."""
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if "***" not in line]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_help_is_the_default_and_lists_every_target(machine: Machine) -> None:
    done = machine.make()
    assert done.returncode == 0
    targets = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    listed = {
        "help",
        "train",
        "test",
        "test-gpu",
        "test-slow",
        "test-browser",
        "bench",
        "docs",
        "docs-links",
        "lint",
        "format",
        "wheel",
        "clean",
    }
    assert targets == listed
    phony = (ROOT / "Makefile").read_text().split(".PHONY: ")[1:]
    assert {text.split()[0] for text in phony} == listed


def test_no_python(machine: Machine) -> None:
    assert "no Python of 3.10 to 3.13 found" in refusal(machine.make("train"))
    assert not machine.venv.exists()


@pytest.mark.parametrize("version", ["3, 9", "3, 14"])
def test_python_out_of_range(machine: Machine, version: str) -> None:
    pretend = f"import sys; sys.version_info = ({version}, 0, 'final', 0); exec(sys.argv[1])"
    machine.script("python3", f'shift; exec "{sys.executable}" -c "{pretend}" "$1"')
    assert "no Python of 3.10 to 3.13 found" in refusal(machine.make("train"))
    named = refusal(machine.make("train", "PYTHON=python3"))
    assert "PYTHON=python3 does not run or is not Python 3.10 to 3.13" in named
    assert not machine.venv.exists()


def test_a_shim_that_does_not_run_is_passed_over(machine: Machine) -> None:
    machine.script("python3.13", "echo 'not installed' >&2; exit 127")
    machine.python("python3.11")
    machine.python("python3")
    assert 'python="python3.11"' in machine.make("-n", "train").stdout


def test_python_without_ensurepip(machine: Machine) -> None:
    missing = "import sys; sys.modules['ensurepip'] = None; exec(sys.argv[1])"
    machine.script("python3", f'shift; exec "{sys.executable}" -c "{missing}" "$1"')
    version = "{}.{}".format(*sys.version_info[:2])
    assert f"sudo apt install python{version}-venv" in refusal(machine.make("train"))
    assert not machine.venv.exists()


def test_an_environment_of_the_users_own_is_left_alone(machine: Machine) -> None:
    machine.python("python3")
    own = machine.venv / "lib" / "of_the_user.py"
    own.parent.mkdir(parents=True)
    own.touch()
    assert "was not made here" in refusal(machine.make("train"))
    assert own.exists()


def test_clean_leaves_what_was_worked_for(machine: Machine) -> None:
    kept = ["runs/a/best.ckpt", "multirun/x", "datasets/coco/a.jpg", ".venv/x", "src/a.py"]
    gone = ["dist/a.whl", "src/__pycache__/a.pyc", ".ruff_cache/x", ".pytest_cache/x"]
    for name in [*kept, *gone, "tests/a.py", "scripts/a.py"]:
        (machine.project / name).parent.mkdir(parents=True, exist_ok=True)
        (machine.project / name).touch()
    assert machine.make("clean").returncode == 0
    assert all((machine.project / name).exists() for name in kept)
    assert not any((machine.project / name).exists() for name in gone)


@pytest.mark.slow
def test_train_installs_once_and_again_when_the_project_changed(machine: Machine) -> None:
    machine.python("python3")
    first = machine.make("train", "ARGS=a=1 b=2")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "few GB" in first.stdout
    assert "trained experiment=quickstart a=1 b=2" in first.stdout

    second = machine.make("train")
    assert "installing" not in second.stdout
    assert "trained experiment=quickstart" in second.stdout

    later = time.time() + 5
    os.utime(machine.project / "pyproject.toml", (later, later))
    third = machine.make("train")
    assert "installing" in third.stdout
    assert "creating" not in third.stdout

    # As after an update of the system that took the interpreter away.
    for link in (machine.venv / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/nonexistent/python")
    healed = machine.make("train")
    assert "making it anew" in healed.stdout
    assert "trained experiment=quickstart" in healed.stdout


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["bin/python", "bin/fcos-train"])
def test_killed_half_way_it_heals(machine: Machine, moment: str) -> None:
    machine.python("python3")
    # Never finishes: killed while the environment is made, or when all but the last step is done.
    machine.script("rm" if moment == "bin/fcos-train" else "unused", "sleep 600")
    started = subprocess.Popen(
        ["make", "train"], cwd=machine.project, env=machine.environment, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 120
        while not (machine.venv / moment).exists():
            assert time.monotonic() < deadline
            assert started.poll() is None
            time.sleep(0.02)
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    found = shutil.which("rm")
    assert found
    (machine.bin / "rm").unlink()
    (machine.bin / "rm").symlink_to(found)

    healed = machine.make("train")
    assert healed.returncode == 0, healed.stdout + healed.stderr
    assert "left half made; making it anew" in healed.stdout
    assert "trained experiment=quickstart" in healed.stdout

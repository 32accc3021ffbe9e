"""Runs the tests of a file in a copy of the repository, with and without a mutation."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mutation.places import Place

#: Tests of other rooms that are a room's own, looked at where the nearer ones notice nothing.
ELSEWHERE = {
    "evaluation": ("tests/training/test_plain_trainer.py", "tests/cli/test_test.py"),
    "training": ("tests/cli/test_train.py", "tests/cli/test_resume.py"),
}
_PACKAGE = "src/fcos_lightning"
#: A mutation may make a loop endless: so many times as long as the tests need, and some seconds.
_PATIENCE, _GRACE_S = 3.0, 60.0


@dataclass(frozen=True)
class Outcome:
    """What became of a mutation.

    Attributes:
        killed: whether a test failed.
        by: the first such test, or ``timeout``; of a survivor, the tests it survived.
        seconds: that it took.
    """

    killed: bool
    by: str
    seconds: float


class Copy:
    """A copy of the repository whose files may be spoilt.

    Args:
        repository: what is copied, as far as git knows of it or would.
        folder: empty, where to.
    """

    def __init__(self, repository: Path, folder: Path) -> None:
        self.folder = folder
        self._seconds: dict[tuple[str, ...], float] = {}
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=repository, capture_output=True, check=True).stdout
        for name in listed.decode().split("\0"):
            if name and (repository / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(repository / name, folder / name)
        self._environment = {
            **os.environ,
            # Before the installed package, which is the repository itself.
            "PYTHONPATH": str(folder / "src"),
            "OMP_NUM_THREADS": "1",
            "FCOS_SHARED": os.environ.get("FCOS_SHARED", str(repository.parent / "shared")),
        }
        place = "import fcos_lightning; print(fcos_lightning.__file__)"
        imported = self._run([sys.executable, "-c", place], 120)[1].strip()
        if not imported.startswith(str(folder)):
            raise RuntimeError(f"the tests would import {imported}, not the copy")

    def judged(self, place: Place) -> Outcome:
        """Run the tests that belong to a mutated file, the nearest first."""
        file = self.folder / place.file
        source = file.read_bytes()
        spent, survived = 0.0, []
        for tests in judges_of(self.folder, place.file):
            limit = self._usual(tests) * _PATIENCE + _GRACE_S
            try:
                self._write(file, place.applied(source))
                status, output, seconds = self._test(tests, limit)
            finally:
                self._write(file, source)
            spent += seconds
            if status != 0:
                failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
                what = "timeout" if status is None else failed[1] if failed else "no start"
                return Outcome(True, what, round(spent, 1))
            survived += tests
        return Outcome(False, " ".join(survived), round(spent, 1))

    def _usual(self, tests: tuple[str, ...]) -> float:
        """Seconds that tests take without a mutation, which they must pass."""
        if tests not in self._seconds:
            status, output, seconds = self._test(tests, 1800)
            if status != 0:
                raise RuntimeError(f"without any mutation, {' '.join(tests)} fail:\n{output}")
            self._seconds[tests] = seconds
        return self._seconds[tests]

    def _test(self, tests: Sequence[str], limit_s: float) -> tuple[int | None, str, float]:
        options = ["-x", "-q", "-n0", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
        return self._run([sys.executable, "-m", "pytest", *options, *tests], limit_s)

    def _run(self, command: list[str], limit_s: float) -> tuple[int | None, str, float]:
        """Return status (None: it took too long), output and seconds."""
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that what it starts ends with it
        )
        try:
            output, _ = process.communicate(timeout=limit_s)
        except BaseException as stop:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            if not isinstance(stop, subprocess.TimeoutExpired):
                raise
            return None, output, time.monotonic() - began
        return process.returncode, output, time.monotonic() - began

    def _write(self, file: Path, content: bytes) -> None:
        file.write_bytes(content)
        # Python tells by size and second whether what it compiled is still that of the file.
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()


def judges_of(folder: Path, file: str) -> list[tuple[str, ...]]:
    """Return the tests that belong to a source file: its own, its room's, those elsewhere."""
    inside = Path(file).relative_to(_PACKAGE)
    own = sorted((folder / "tests" / inside.parent).glob(f"test_{inside.stem}*.py"))
    steps = [tuple(str(test.relative_to(folder)) for test in own)]
    room = inside.parts[0]
    steps += [(f"tests/{room}",), ELSEWHERE.get(room, ())]
    return [step for step in steps if step]

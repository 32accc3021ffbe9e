"""Help, which has to come at once and show all that Hydra's own shows."""

import os
import subprocess
import sys

import pytest

COMMANDS = ("doctor", "explain", "train", "test", "report", "compare", "predict", "convert", "pack")
#: Libraries that cost seconds and that help has no use for.
SLOW = ("torch", "torchvision", "lightning", "torchmetrics", "albumentations", "cv2", "numpy")
SLOW += ("matplotlib", "tensorboard", "scipy", "pycocotools", "PIL", "rich", "timm", "optuna")


def printed(name: str, *arguments: str, before: str = "", code: int = 0) -> tuple[str, set[str]]:
    """Return what a command printed, and the slow libraries it loaded."""
    program = (
        f"import atexit, sys\n{before}\n"
        "def loaded():\n"
        f"    print('loaded:', *{set(SLOW)} & set(sys.modules), file=sys.stderr)\n"
        "atexit.register(loaded)\n"
        f"from fcos_lightning.cli.{name} import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, set(done.stderr.splitlines()[-1].removeprefix("loaded:").split())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_hydras_own_and_loads_nothing_slow(name: str) -> None:
    shown, loaded = printed(name, "--help")
    assert not loaded
    assert f"fcos-{name} is powered by Hydra." in shown
    # Without what run() does to make Hydra's help come sooner.
    plain, _ = printed(name, "--help", before="import copyreg; copyreg.pickle = lambda *_: None")
    assert shown == plain


@pytest.mark.parametrize("words", [["modle=r18"], ["-m", "modle=r18,mnv2"], ["-m", "--help"]])
def test_a_mistyped_command_line_loads_no_torch(words: list[str]) -> None:
    _, loaded = printed("train", *words, code=2)
    assert not {"torch", "lightning", "albumentations", "matplotlib"} & loaded


def test_who_stops_reading_sees_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = "from fcos_lightning.cli.train import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--help"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 141 and done.stderr == ""

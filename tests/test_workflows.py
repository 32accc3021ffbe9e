"""What GitHub runs exists here."""

import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import newest  # noqa: E402

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_targets_of_make_and_files_exist(file: Path) -> None:
    jobs = yaml.safe_load(file.read_text())["jobs"]
    run = "\n".join(str(step.get("run", "")) for job in jobs.values() for step in job["steps"])
    made = set(re.findall(r"^make ([\w-]+)", run, re.MULTILINE))
    targets = set(re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert made and made <= targets
    for name in re.findall(r"\b(?:scripts|tests|src)/[\w/.]+", run):
        assert (ROOT / name).exists(), name
    assert all(job["timeout-minutes"] <= 180 for job in jobs.values())


def test_the_slow_proofs_and_the_newest_releases_have_their_week() -> None:
    text = (ROOT / ".github/workflows/weekly.yml").read_text()
    assert "cron:" in text and "make test-slow" in text and "scripts/newest.py" in text


def test_bounds_are_left_out_and_pins_kept() -> None:
    given = [
        "torch>=2.10",
        "hydra-core>=1.3.8,<1.4",
        "albumentations == 2.0.8",
        "a[b,c]<2",
        "torch",
    ]
    assert newest.without_bounds(given) == [
        "a[b,c]",
        "albumentations==2.0.8",
        "hydra-core",
        "torch",
    ]


def test_everything_that_tests_need_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert newest.main() == 0
    listed = capsys.readouterr().out.split()
    assert {"torch", "lightning", "hydra-core", "pytest", "onnxruntime"} <= set(listed)
    assert [line for line in listed if "<" in line or ">" in line] == []

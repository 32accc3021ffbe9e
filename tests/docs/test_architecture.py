"""The pages say where things are: the places exist, and hold what is said to be there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "fcos_lightning"
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md")),
]
PATH = re.compile(r"`((?:\w+/)+(?:[\w.]+)?)`")
#: A file, and after a comma a name of it.
NAMED = re.compile(r"`((?:\w+/)+\w+\.py)`,\s+`(\w+(?:\.\w+)?)`")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def place(path: str) -> Path:
    """Where a path of a page leads: below the package, or from the top."""
    return PACKAGE / path if (PACKAGE / path).exists() else ROOT / path


def names_in(file: Path) -> set[str]:
    """The classes and functions of a file, and what is in the classes."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            inside = (one for one in node.body if isinstance(one, ast.FunctionDef))
            found |= {f"{node.name}.{one.name}" for one in inside}
    return found


@pytest.mark.parametrize("page", PAGES)
def test_a_path_on_a_page_leads_somewhere(page: str) -> None:
    ours = {path.name for path in PACKAGE.iterdir()} | {"src", "conf", "scripts", "tests", "docs"}
    found = [path for path in PATH.findall(read(page)) if path.split("/")[0] in ours]
    # Run folders have rooms' names, too: runs/NAME, checkpoints/last.ckpt.
    paths = [path for path in found if path.endswith(("/", ".py", ".yaml", ".md"))]
    # What a recipe writes could have a place of ours, too.
    written = set(re.findall(r"^# mypkg/(\w+\.py)$", read(page), re.MULTILINE))
    missing = [path for path in paths if not place(path).exists()]
    assert [path for path in missing if Path(path).name not in written] == []


def test_the_pages_have_such_paths() -> None:
    assert len(PATH.findall(read("docs/architecture.md"))) > 40
    assert len(NAMED.findall(read("docs/architecture.md"))) > 20
    assert len(NAMED.findall(read("docs/reading.md"))) > 5


@pytest.mark.parametrize("page", ["docs/architecture.md", "docs/reading.md"])
def test_what_a_page_finds_in_a_file_is_there(page: str) -> None:
    missing = [one for one in NAMED.findall(read(page)) if one[1] not in names_in(place(one[0]))]
    assert missing == []


def test_one_training_step_is_read_in_eight_files() -> None:
    section = read("docs/architecture.md").split("## One training step")[1].split("\n## ")[0]
    files = re.findall(r"^\d+\. `([\w/]+\.py)`", section, re.MULTILINE)
    assert len(files) == len(set(files)) <= 8
    # Every part that the step calls is in one of them.
    module = (PACKAGE / "training/module.py").read_text(encoding="utf-8")
    step = module.split("def training_step")[1].split("\n    def ")[0]
    calls = set(re.findall(r"self\.detector\.(\w+)\(", step))
    assert calls == {"grid", "assign", "loss"} and "self.over_the_whole_step(" in step
    kinds = {"Grid", "Head", "FCOSAssigner", "totals_of_step", "FCOSLoss", "DenseDetector"}
    assert kinds <= {name for file in files for name in names_in(PACKAGE / file)}


def test_every_room_is_on_the_page() -> None:
    page = read("docs/architecture.md")
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert {room for room in rooms if f"`{room}/" not in page} <= {"layers"}

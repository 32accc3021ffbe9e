"""The site's table of contents has every page, and no link of a page leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
READ = [*PAGES, *(f"../{page.name}" for page in sorted(ROOT.glob("*.md")))]


def test_every_page_is_in_the_table_of_contents_once() -> None:
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    listed = [line for tree in trees for line in tree.splitlines() if line and line[0] != ":"]
    assert len(trees) == 4
    assert sorted([*listed, "index"]) == sorted(page.removesuffix(".md") for page in PAGES)


@pytest.mark.parametrize("page", READ)
def test_links_lead_to_files(page: str) -> None:
    text = re.sub(r"^```.*?^```$", "", (DOCS / page).read_text("utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith("#"):
            assert ((DOCS / page).parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize(
    "file",
    sorted((ROOT / "conf").rglob("*.yaml")),
    ids=lambda file: f"{file.parent.name}-{file.stem}",
)
def test_a_choice_says_at_its_head_what_it_is(file: Path) -> None:
    """The reference of commands is made of these remarks."""
    lines = file.read_text(encoding="utf-8").splitlines()
    head = next(line for line in lines if not line.startswith("# @package"))
    assert re.fullmatch(r"# \S.*", head), head

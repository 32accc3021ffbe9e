"""Links to files of the repository that are no page of the site lead to the repository.

Pages are read in the repository too, where `../conf/model/r50.yaml` works. On the site such a link
has no target. It is replaced by the path in the words of a reader, and one that leads to no file
fails the build.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
#: Pages of the site that include a file from the top of the repository.
INCLUDED = {
    "CONTRIBUTING.md": "contributing",
    "SECURITY.md": "security-policy",
    "CHANGELOG.md": "changelog",
}
_logger = logging.getLogger(__name__)


class OutsideLinks(SphinxTransform):
    """Resolve links that leave `docs/`."""

    default_priority = 4  # before the files to download are collected

    def apply(self) -> None:
        """Go through the links of one page."""
        for link in list(self.document.findall(addnodes.pending_xref)):
            self._mend(link)
        for link in list(self.document.findall(addnodes.download_reference)):
            self._mend(link)

    def _mend(self, link: addnodes.pending_xref | addnodes.download_reference) -> None:
        if link.get("refdomain") == "py":
            return
        target = str(link.get("reftarget", "")).split("#", 1)[0]
        if not target or "://" in target:
            return
        here = (ROOT / "docs" / self.env.docname).parent
        file = (here / target).resolve()
        if not _there(file):  # in a file that is included from the top of the repository
            file = ROOT / target
        if not file.is_relative_to(ROOT) or file.is_relative_to(ROOT / "docs"):
            return
        name = file.relative_to(ROOT).as_posix()
        name = name if file.exists() else f"{name}.md"  # which MyST has cut off
        if name in INCLUDED:
            link["reftarget"] = INCLUDED[name]
            link["reftype"], link["refdomain"] = "doc", "std"
            link["refexplicit"] = True
            return
        if not _there(file):
            _logger.warning("%s: no such file", target, location=link)
        text = link.astext()
        link.replace_self(nodes.literal("", name) if text == name else nodes.inline("", text))


def _there(file: Path) -> bool:
    return file.exists() or file.with_name(f"{file.name}.md").exists()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register; called by Sphinx."""
    app.add_transform(OutsideLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

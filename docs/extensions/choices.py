"""The directive ``choices``: what a command can be told, read from the files in `conf/`."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

CONF = Path(__file__).resolve().parents[2] / "conf"


class Choices(SphinxDirective):
    """``{choices} train``: the settings of ``conf/train.yaml``, then the groups it chooses from."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the parsed text."""
        file = CONF / f"{self.arguments[0]}.yaml"
        self.env.note_dependency(str(file))
        lines = [about(file), "", "```yaml", *_body(file), "```", ""]
        for group in groups(file):
            lines += self._group(group)
        node = nodes.section()
        node.document = self.state.document
        self.state.nested_parse(StringList(lines, str(file)), 0, node, match_titles=True)
        return node.children

    def _group(self, group: str) -> list[str]:
        files = sorted((CONF / group).rglob("*.yaml"))
        lines = [f":::{{rubric}} `{group}=`", ":::", ""]
        for file in files:
            self.env.note_dependency(str(file))
            name = file.relative_to(CONF / group).with_suffix("").as_posix()
            lines += [f"`{group}={name}`", f": {about(file)}", ""]
        return lines


def groups(file: Path) -> list[str]:
    """Return the folders of `conf/` that the file's defaults choose from."""
    defaults = yaml.safe_load(file.read_text(encoding="utf-8")).get("defaults", [])
    named = [key for one in defaults if isinstance(one, dict) for key in one]
    return [one for one in named if (CONF / one).is_dir()]


def about(file: Path) -> str:
    """Return the comment at the head of a file, as one paragraph."""
    said = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# @package"):
            continue
        if not line.startswith("#"):
            break
        said.append(line.lstrip("# ").rstrip())
    return " ".join(said) or "(no remark)"


def _body(file: Path) -> list[str]:
    """The settings with their remarks, without what is Hydra's own."""
    text = file.read_text(encoding="utf-8")
    text = re.sub(r"^(hydra|defaults):\n(?:[ \t]+.*\n|\n|- .*\n)*", "", text, flags=re.MULTILINE)
    return [line for line in text.splitlines() if not line.startswith("#")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register; called by Sphinx."""
    app.add_directive("choices", Choices)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

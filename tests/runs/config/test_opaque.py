"""Text stays text, whatever OmegaConf and Hydra would read in it."""

from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from fcos_lightning.runs.config.opaque import opaque, opaque_text
from fcos_lightning.runs.config.words import quoted

PIECES = [
    *("${", "}", "$", "{", "\\", "'", '"', "???", "?", ":", ".", ",", "[", "]", "=", " ", "a"),
    *("${oc.env:HOME}", "${oc.create:{_target_: os.system}}", "é", "\udc80", "null", "1e5"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
TREES = st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner))


def resolved(value: Any) -> Any:
    return OmegaConf.to_container(
        OmegaConf.create({"value": value}), resolve=True, throw_on_missing=True
    )["value"]


@settings(deadline=None)  # the first parse of a grammar takes a while
@given(TREES)
def test_a_tree_comes_back_as_it_was(tree: Any) -> None:
    assert resolved(opaque(tree)) == tree


@settings(deadline=None)  # the first parse of a grammar takes a while
@given(TEXTS)
def test_text_is_not_looked_up_where_something_refers_to_it(text: str) -> None:
    config = OmegaConf.create({"text": opaque_text(text), "same": "${text}", "in": "<${text}>"})
    assert config.same == text
    assert config["in"] == f"<{text}>"


@settings(deadline=None)  # the first parse of a grammar takes a while
@given(TEXTS)
def test_a_quoted_word_gives_this_very_text(text: str) -> None:
    override = OverridesParser.create().parse_override(quoted("key", text))
    assert resolved(override.value()) == text


def test_ordinary_text_is_not_touched() -> None:
    assert opaque({"a": ["cat", 1, None], "b": "$x {y}"}) == {"a": ["cat", 1, None], "b": "$x {y}"}

"""What a shell gives as a path reaches the configuration as that path."""

from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from fcos_lightning.errors import UserError
from fcos_lightning.runs.config.words import (
    options_first,
    plain_words,
    quoted_words,
    refuse_bare,
    text_of,
    valued,
)
from fcos_lightning.sweeps.space import parse_space

PATHS = [
    *("photo (1).jpg", "007", "1e5", "-1", "a,b=c", "a=b=c", "it's", 'the "best"', "true", "NaN"),
    *("[x]*.{y}", "a\\", "\\'", "ü #", "# b", "$HOME", "a$b", "%20", "a: b", "x y ", "狗/é.jpg"),
    *("'a' and 'b'", "'", "x~/y", "null/x", "???", "@a", "!b", "&c", "*", "choice(1)", "a;b|c"),
]
KEYS = [
    *("ckpt", "source", "out", "run_dir", "resume", "init_from", "data.root", "data.images"),
    *("data.annotations", "data.train_split", "data.val_split", "+data.root", "++data.root"),
    *("model.backbone.weights", "trainer.default_root_dir", "sweep.dir", "callbacks.best.dirpath"),
    *("logger.tensorboard.save_dir", "callbacks.last.folder", "logger.mlflow.tracking_uri", "name"),
]


def read(word: str) -> Any:
    value = OverridesParser.create().parse_override(word).value()
    return OmegaConf.to_container(OmegaConf.create({"v": value}), resolve=True)["v"]  # type: ignore[call-overload,index]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_arrives_as_it_is(path: str) -> None:
    (word,) = quoted_words([f"ckpt={path}"])
    assert read(word) == path
    assert quoted_words([word]) == [word]  # the processes of a run on several devices do it again
    assert text_of(f"ckpt={path}") == path == text_of(word)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_that_names_a_path_takes_any(key: str) -> None:
    (word,) = quoted_words([f"{key}=a, [b] = c#"])
    assert word.startswith(f"{key}=")
    assert read(word) == "a, [b] = c#"


@pytest.mark.parametrize("name", ["a${b}", "'quoted'", '"', "${oc.env:HOME}"])
def test_what_is_there_is_meant_literally(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).touch()
    assert read(quoted_words([f"source={name}"])[0]) == name


@pytest.mark.parametrize(
    "word",
    [
        *(
            "ckpt=${name}.ckpt",
            "ckpt='${x}'",
            "ckpt='a, b'",
            "ckpt=null",
            "ckpt=",
            "other=a b",
            "-m",
        ),
        *("data.root=/a/b-c.d/e", "data.images=SPLIT", "score_threshold=a,b", "~ckpt", "--x=a b"),
    ],
)
def test_other_words_stay_as_they_are(word: str) -> None:
    assert quoted_words([word]) == [word]


def test_a_path_may_begin_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me (1)")
    words = ["run_dir=~/runs", "data.root=~", "ckpt='~/as is'", "name=~/x", "data.images=~x"]
    there = ["/home/me (1)/runs", "/home/me (1)", "~/as is", "~/x", "~x"]
    assert [read(word) for word in quoted_words(words)] == there
    (swept,) = quoted_words(["init_from=~/a,b"], swept=True)
    assert swept == "init_from='/home/me (1)/a',b"


def test_text_looks_up_what_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNS", "/my runs")
    assert text_of("ckpt=${oc.env:RUNS}/best.ckpt") == "/my runs/best.ckpt"
    assert text_of("ckpt='a, b'") == "a, b"
    assert text_of("data=coco") == "coco"


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("init_from=a,b", ["a", "b"]),
        ("init_from=a=1/x.ckpt, b#", ["a=1/x.ckpt", "b#"]),
        ("init_from=choice(a,b)", ["a", "b"]),
        ("init_from='a, b',c", ["a, b", "c"]),
    ],
)
def test_a_sweep_goes_over_several_paths(given: str, values: list[str]) -> None:
    words = parse_space(quoted_words([given], swept=True), {}).choices("init_from")
    assert [read(f"x={word}") for word in words] == values


def test_in_a_sweep_a_path_with_a_comma_that_is_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a, b").mkdir()
    (word,) = quoted_words(["data.root=a, b"], swept=True)
    assert not OverridesParser.create().parse_override(word).is_sweep_override()
    assert read(word) == "a, b"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a=1 --config-dir conf b=2 --cfg job -m ~c", "--config-dir conf --cfg job -m a=1 b=2 ~c"),
        ("a=1 --info", "--info=all a=1"),
        ("--info a=1 --resolve", "--info=all --resolve a=1"),
        ("--info config a=1", "--info=config a=1"),
        ("-cd -odd a=1 -c=job", "-cd -odd -c=job a=1"),
    ],
)
def test_options_may_stand_anywhere(given: str, said: str) -> None:
    first = options_first(given.split())
    assert first == said.split() == options_first(first)


@pytest.mark.parametrize(
    ("word", "said"), [("--lr=3", "as lr=3"), ("--epochs", "as epochs=VALUE"), ("-b", "as b=VALUE")]
)
def test_settings_have_no_dashes(word: str, said: str) -> None:
    with pytest.raises(UserError, match=f"^{word}: there is no such option; .*, {said}$"):
        options_first(["a=1", word, "3"])


def test_a_tree_of_plain_values_comes_back_as_it_was() -> None:
    tree = {"a b": [1, 2.5, 1e-05, None, True], "k:{},=": {"x": "it's {a: 1}, \\", "y": "${no}"}}
    tree |= {"empty": {}, "none": [], "words": ["", "null", "1", "a=b"], "high": float("inf")}
    override = OverridesParser.create().parse_override(valued("++a", tree))
    assert OmegaConf.to_container(OmegaConf.create(override.value()), resolve=True) == tree


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("data.root = /a/csv", "no spaces around =: data.root=/a/csv"),
        ("data.root= /a/csv name=x", "no spaces around =: data.root=/a/csv"),
        ("data.root =/a/csv", "no spaces around =: data.root=/a/csv"),
        ("schedule.lr = 0.1", "no spaces around =: schedule.lr=0.1"),
        ("data.root=yolo with space", "quote it: 'data.root=yolo with space'"),
        ("data.root=yolo with space photos", "quote it: 'data.root=yolo with space'"),
        (
            "ckpt=my best.ckpt",
            "ckpt=my: is not there, and best.ckpt has no name; if they are one path, quote it: "
            "'ckpt=my best.ckpt'; if not, say KEY=best.ckpt",
        ),
        ("data.root=yolo b", "b: settings are given with their names; say source=b"),
        ("run_dir=new photos", "photos: settings are given with their names; say source=photos"),
    ],
)
def test_words_that_a_shell_took_apart(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("yolo with space").mkdir()
    Path("yolo").mkdir()
    with pytest.raises(UserError) as caught:
        refuse_bare(line.split(), {"source", "data.root", "ckpt", "init_from"})
    assert str(caught.value) == said


def test_words_that_are_whole_are_let_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a=b").mkdir()
    assert plain_words(["out=new", "a=b", "run", "x="])[0] == ["a=b", "run"]
    assert plain_words(["data.root=", "name=x"])[0] == []
    refuse_bare(["data.root=nowhere", "-m", "++x=1", "~logger"], {"data.root"})

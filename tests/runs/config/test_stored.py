"""``config.yaml`` of a run folder: plain values, whoever wrote it."""

import errno
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from fcos_lightning.errors import UserError
from fcos_lightning.runs.config.opaque import opaque
from fcos_lightning.runs.config.stored import as_config, load_config, outside, read_plain_yaml
from fcos_lightning.runs.folder import save_config

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [{f'*a{i}, ' * 9}]\n" for i in range(9))
NO_CONFIGURATION: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "holds no settings"),
    "a list": (b"[1, 2]", "holds no settings"),
    "text": (b"hello", "holds no settings"),
    "another encoding": ("a: 1".encode("utf-16"), "not UTF-8 text"),
    "a null byte": (b"a: \x00", "no YAML that can be read"),
    "cut off": (b"a: [1, 2", "line [12]: .* no YAML that can be read"),
    "a tab": (b"a:\n\t- 1", "line 2: .* no YAML that can be read"),
    "two documents": (b"a: 1\n---\nb: 2", "line 2: .* another document"),
    "a call": (b"a: !!python/object/apply:os.system [x]", "line 1: has the tag .*os.system"),
    "a call in a list": (b"a:\n- !!python/object/new:os.system [x]", "line 2: has the tag"),
    "a name": (b"a: 1\nb: !!python/name:os.system", "line 2: has the tag"),
    "a module": (b"a: !!python/module:os", "line 1: has the tag"),
    "a path": (b"a: !!python/object/apply:pathlib.Path [x]", "line 1: has the tag"),
    "a tag of one's own": (b"a: !mine 1", "line 1: has the tag !mine"),
    "a tag for a key": (b"!!python/name:os.system a: 1", "line 1: has the tag"),
    "a bomb of aliases": (BOMB.encode(), "line 1: has an anchor or alias"),
    "itself": (b"a: &a [*a]", "line 1: has an anchor or alias"),
    "deep": (b"a: " + b"[" * 50 + b"]" * 50, "line 1: is nested too deeply"),
    "very deep": (b"[" * 100_000, "nest"),
    "a large file": (b"a: 1\n" * 300_000, "has more than 1048576 bytes"),
    "a number without end": (b"seed: " + b"9" * 5000, "4300 digits"),
    "a key twice": (b"a: 1\na: 2", "line 2: the key a stands there twice"),
    "a list for a key": (b"? [1]\n: 2", "line 1: a key is a list or a mapping"),
    "a number for a key": (b"a:\n  5: 1", "in a: the key 5 is no text"),
    "nothing for a key": (b"~: 1", "the key None is no text"),
}


@pytest.mark.parametrize("name", NO_CONFIGURATION)
def test_what_is_no_configuration_is_one_line(name: str, tmp_path: Path) -> None:
    content, said = NO_CONFIGURATION[name]
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        read_plain_yaml(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


LOOK_LIKE_MORE = [
    *("1", "1e5", "1.5", "null", "~", "true", "no", "2001-01-01", "1:30", "0x1f", ".inf", "1_000"),
    *(
        "???",
        "${a}",
        "=",
        "<<",
        "a: b",
        "- a",
        "# a",
        "'",
        '"',
        "\\",
        "%",
        "@",
        "{a}",
        "[a]",
        " a ",
    ),
    *("a\n b\n", "\x85", "\u2028a", "\ufeff", "\x1b[1m", "\t"),
]
TEXTS = st.text(max_size=8) | st.sampled_from(LOOK_LIKE_MORE)
PLAIN = (
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | TEXTS
)
TREES = st.dictionaries(
    TEXTS, st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner))
)


@settings(deadline=None, max_examples=50)
@given(TREES)
def test_what_a_run_writes_is_read_as_it_was(tmp_path_factory: Any, tree: dict[str, Any]) -> None:
    """Numbers stay numbers, and text stays text that looks like one."""
    folder = tmp_path_factory.getbasetemp()
    save_config(as_config(tree), folder)
    read = read_plain_yaml(folder / "config.yaml")
    assert repr(read) == repr(tree)  # 1 is not True, nor 1.0
    assert OmegaConf.to_container(as_config(read), resolve=True) == tree


def test_runs_of_earlier_versions_are_read_as_omegaconf_wrote_them(tmp_path: Path) -> None:
    tree = {text: text for text in LOOK_LIKE_MORE if text.isprintable() and text != "???"}
    tree |= {"number": 1e-5, "large": 1e30, "list": [0.1, None, True, 7]}
    written = OmegaConf.to_yaml(OmegaConf.create(opaque(tree)), resolve=True)
    (tmp_path / "config.yaml").write_text(written, encoding="utf-8")
    assert read_plain_yaml(tmp_path / "config.yaml") == tree


def test_numbers_that_people_write_are_numbers(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("a: 1e-4\nb: -2E+3\nc: 1_000.5\nd: .5\ne: -.inf\nf: 1e\ng: e5\nh: 2001-01-01\n")
    read = read_plain_yaml(file)
    assert list(read.values()) == [1e-4, -2e3, 1000.5, 0.5, -float("inf"), "1e", "e5", "2001-01-01"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints/last.ckpt").touch()
    return folder


def write(run: Path, **tree: Any) -> dict[str, Any]:
    OmegaConf.save(OmegaConf.create(tree), run / "config.yaml")
    return load_config(run)


def test_paths_below_a_run_follow_it_where_it_is_moved(run: Path) -> None:
    tree = write(
        run,
        run_dir="/before/it",
        trusted_packages=["os"],
        trainer={"default_root_dir": "/before/it"},
        callbacks={"best": {"dirpath": "/before/it/checkpoints", "filename": "best"}, "ema": None},
        logger={"mlflow": {"tracking_uri": "file:/before/it/mlflow", "name": "/before/its"}},
        data={"root": "/before/it/data"},
    )
    assert tree["run_dir"] == tree["trainer"]["default_root_dir"] == str(run)
    assert tree["callbacks"] == {
        "best": {"dirpath": f"{run}/checkpoints", "filename": "best"},
        "ema": None,
    }
    assert tree["logger"]["mlflow"] == {
        "tracking_uri": f"file:{run}/mlflow",
        "name": "/before/its",  # another folder
    }
    assert tree["data"]["root"] == "/before/it/data"
    assert "trusted_packages" not in tree
    assert list(outside(tree, run)) == [("logger.mlflow.name", "/before/its")]


@pytest.mark.parametrize(
    ("key", "value", "leads"),
    [
        ("callbacks.best.dirpath", "RUN/checkpoints", False),
        ("callbacks.best.dirpath", "RUN/../elsewhere", True),
        ("callbacks.best.dirpath", "checkpoints", True),  # of the current folder
        ("callbacks.best.dirpath", "", False),
        ("callbacks.best.filename", "best", False),
        ("callbacks.best.filename", "../../best", True),
        ("callbacks.best.filename", "/etc/cron.d/best", True),
        ("callbacks.best.monitor", "val/AP", False),
        ("callbacks.last.folder", "RUN/link", True),
        ("callbacks.last.folder", "~/.ssh", True),
        ("callbacks.last.folder", "a\0b", True),
        ("callbacks.x.list", ["RUN", "/etc"], True),
        ("logger.wandb.project", "a/b", False),
        ("logger.wandb.settings", {"base_url": "https://example.org"}, True),
        ("logger.mlflow.tracking_uri", "https://example.org", True),
        ("logger.mlflow.tracking_uri", "file:RUN/mlflow", False),
        ("logger.mlflow.tracking_uri", "file:///etc/mlflow", True),
        ("trainer.default_root_dir", "RUN", False),
        ("trainer.profiler", {"dirpath": "/tmp"}, True),
    ],
)
def test_what_would_be_written_or_sent_elsewhere_is_found(
    run: Path, tmp_path: Path, key: str, value: Any, leads: bool
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (run / "link").symlink_to(tmp_path / "elsewhere")
    config = OmegaConf.create()
    OmegaConf.update(config, key, value, force_add=True)
    tree: Any = OmegaConf.to_container(config)
    assert bool(list(outside(filled(tree, str(run)), run))) == leads


def filled(tree: Any, run: str) -> Any:
    if isinstance(tree, dict):
        return {key: filled(value, run) for key, value in tree.items()}
    if isinstance(tree, list):
        return [filled(value, run) for value in tree]
    return tree.replace("RUN", run) if isinstance(tree, str) else tree


def test_shapes_are_drawn_only_where_the_command_line_says(run: Path, tmp_path: Path) -> None:
    shapes = {"_target_": "fcos_lightning.data.ShapesDataModule", "root": str(tmp_path / "new")}
    assert list(outside({"data": shapes}, run)) == [("data.root", str(tmp_path / "new"))]
    (tmp_path / "new").mkdir()
    (tmp_path / "new/shapes.json").touch()  # they are there
    assert not list(outside({"data": shapes}, run))
    assert not list(outside({"data": {**shapes, "root": None}}, run))


def test_a_file_that_cannot_be_read_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "config.yaml").mkdir()
    with pytest.raises(UserError, match=r"holds no config\.yaml"):
        load_config(run)
    (run / "config.yaml").rmdir()
    (run / "config.yaml").write_text("a: 1")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(UserError, match=r"config\.yaml cannot be read: Permission denied"):
        load_config(run)


def test_a_copy_of_which_only_the_name_was_changed_writes_into_itself(run: Path) -> None:
    """Its Trainer and its callbacks agree on where it was, whatever ``run_dir`` says."""
    tree = write(
        run,
        run_dir=str(run),
        trainer={"default_root_dir": "/before"},
        callbacks={"best": {"dirpath": "/before/checkpoints"}, "x": {"folder": "/beforehand"}},
        logger={"csv": {"folder": "/before"}, "y": {"save_dir": "/before/../elsewhere"}},
    )
    assert tree["trainer"]["default_root_dir"] == tree["logger"]["csv"]["folder"] == str(run)
    assert tree["callbacks"]["best"]["dirpath"] == f"{run}/checkpoints"
    assert dict(outside(tree, run)) == {
        "callbacks.x.folder": "/beforehand",
        "logger.y.save_dir": f"{run}/../elsewhere",
    }
    # Where they do not agree, somebody chose that place.
    tree = write(run, run_dir=str(run), trainer={"default_root_dir": "/chosen"}, callbacks={})
    assert dict(outside(tree, run)) == {"trainer.default_root_dir": "/chosen"}

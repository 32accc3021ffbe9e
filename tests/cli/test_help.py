"""Help, which has to come at once: the usual words, and all that Hydra's own shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from fcos_lightning.cli.short_help import ROWS, USUAL, short_help
from fcos_lightning.runs.config.composed import composed, config_dir

COMMANDS = (
    *("doctor", "explain", "train", "test", "report", "compare", "predict", "convert", "pack"),
    "serve",
)
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
def test_help_comes_at_once_with_the_defaults(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown, loaded = printed(name, "--help")
    assert not loaded
    lines = shown.splitlines()
    assert lines[0].startswith(f"fcos-{name}: ")
    assert f"fcos-{name} --help-all has all words" in lines[-1]
    # Words with the defaults that a command line without them has.
    content = yaml.safe_load((config_dir() / f"{name}.yaml").read_text())
    said = dict(re.findall(r"^  (\w+)=(\S*)", shown, re.M))
    plain = {key: value for key, value in content.items() if not isinstance(value, (dict, list))}
    assert len(set(said) & set(plain)) >= 2
    for key in set(said) & set(plain):
        assert yaml.safe_load(said[key]) == plain[key], key


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("columns", [80, 100])
def test_help_fits_the_screen_that_a_terminal_opens_with(
    name: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = short_help(config_dir(), name).splitlines()
    assert len(lines) <= ROWS == 24 - 1, "\n".join(lines)
    assert max(map(len, lines)) <= columns, "\n".join(lines)
    examples = lines.index("Examples:") + 1
    assert re.match(r"  (fcos-|curl )", lines[examples])
    for word in USUAL[name]:
        assert any(re.match(rf"  {re.escape(word)}(=|\.\*)", line) for line in lines), word


@pytest.mark.parametrize("name", ["train", "doctor", "explain", "pack"])
def test_the_usual_words_of_groups_have_the_defaults_of_their_choices(name: str) -> None:
    shown = short_help(config_dir(), name)
    with composed(name, []) as config:
        found = re.findall(r"^  ((?:data|schedule|trainer)\.\w+)=(\S+)", shown, re.M)
        assert "data.root" in dict(found)
        for key, value in found:
            assert str(OmegaConf.select(config, key)) == {"null": "None"}.get(value, value), key
    if name == "train":
        assert "schedule.lr=0.01" in shown and "model=r50  or as_init, dla34" in shown


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("columns", ["72", "100"])
def test_no_remark_is_cut(name: str, columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    shown = " ".join(short_help(config_dir(), name).split())
    remarks = 0
    for line in (config_dir() / f"{name}.yaml").read_text().splitlines():
        key, _, said = line.partition("#")
        if re.match(r"\w+: ", key) and key.partition(":")[0] in USUAL[name]:
            assert " ".join(said.split()) in shown
            remarks += 1
    assert remarks >= 3


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("columns", ["80", "110"])
def test_all_choices_are_named_or_said_to_be_more(
    name: str, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for line in short_help(config_dir(), name).splitlines():
        found = re.match(r"  (\w+)=(\w+)  or (.*)", line)
        if found and (folder := config_dir() / found[1]).is_dir():
            _, first, others = found.groups()
            there = {file.stem for file in folder.glob("*.yaml")}
            there |= {f"{one.name}/..." for one in folder.iterdir() if one.is_dir()}
            named = set(others.removesuffix(", ...").split(", "))
            assert named < there | {first}
            assert bool(there - named - {first}) == others.endswith(", ..."), line


@pytest.mark.parametrize("name", COMMANDS)
def test_all_help_is_hydras_own_and_loads_nothing_slow(name: str) -> None:
    shown, loaded = printed(name, "--help-all")
    assert not loaded
    assert f"fcos-{name} is powered by Hydra." in shown
    # Without what run() does to make Hydra's help come sooner.
    plain, _ = printed(
        name, "--help-all", before="import copyreg; copyreg.pickle = lambda *_: None"
    )
    assert shown == plain


@pytest.mark.parametrize("words", [["modle=r18"], ["-m", "modle=r18,mnv2"], ["-m", "--help"]])
def test_a_mistyped_command_line_loads_no_torch(words: list[str]) -> None:
    _, loaded = printed("train", *words, code=2)
    assert not {"torch", "lightning", "albumentations", "matplotlib"} & loaded


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("fcos-train method=at", {"method=atss"}),
        ("fcos-train schedule.max_e", {"schedule.max_epochs="}),
        ("fcos-train data=", {f"data={file.stem}" for file in (config_dir() / "data").iterdir()}),
    ],
)
def test_bash_completes_as_documented(typed: str, completed: set[str], tmp_path: Path) -> None:
    command = tmp_path / "fcos-train"  # as the package's own, which may not be installed
    code = "from fcos_lightning.cli.train import main\nmain()\n"
    command.write_text(f"#!{sys.executable}\n{code}")
    command.chmod(0o755)
    documented = 'eval "$(fcos-train --shell-completion install=bash)"'
    page = Path(__file__).parents[2] / "docs/reference/commands.md"
    assert documented in page.read_text()
    script = f"""{documented}
        COMP_LINE="{typed}"; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=({typed}); COMP_CWORD=1
        $(complete -p fcos-train | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and set(done.stdout.split()) == completed, done


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

"""How words are written for a shell."""

import subprocess
from pathlib import Path

import pytest

from fcos_lightning.runs.next_steps import _quoted, as_started


@pytest.mark.parametrize(
    "word",
    [
        "a",
        "ckpt=a b",
        "it's",
        'the "x"',
        "$HOME `id`",
        "a\nb\t'\\c",
        "\x1b[31m'é'\\",
        "#x",
        "狗/é*?",
    ],
)
def test_a_shell_gives_back_what_was_written(word: str) -> None:
    line = _quoted(word)
    assert line.isprintable()
    said = subprocess.run(["bash", "-c", f"printf %s {line}"], capture_output=True, check=True)
    assert said.stdout.decode() == word


def test_a_command_that_the_shell_does_not_find_is_called_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("env/bin", "other"):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("fcos-train", "fcos-test"):
            (tmp_path / folder / name).touch(mode=0o755)
    monkeypatch.setattr("sys.argv", ["env/bin/fcos-train"])
    for path, said in (("", "env/bin/fcos-test"), ("other", "env/bin/fcos-test")):
        monkeypatch.setenv("PATH", str(tmp_path / path) if path else "/nowhere")
        assert as_started("fcos-test") == said
    monkeypatch.setenv("PATH", str(tmp_path / "env/bin"))
    assert as_started("fcos-test") == "fcos-test"
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.argv", ["env/bin/python"])  # of another program nothing is known
    assert as_started("fcos-test") == "fcos-test"

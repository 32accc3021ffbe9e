"""How words are written for a shell."""

import subprocess

import pytest

from fcos_lightning.runs.next_steps import _quoted


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

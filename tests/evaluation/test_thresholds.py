import json
from pathlib import Path

import pytest

from fcos_lightning.errors import UserError
from fcos_lightning.evaluation.thresholds import Thresholds


def test_each_class_has_its_own_or_the_overall(tmp_path: Path) -> None:
    file = tmp_path / "thresholds.json"
    per_class = {"cat": 0.25, "dog": None, "rat (id 9)": 1}
    file.write_text(json.dumps({"about": "-", "overall": 0.5, "per_class": per_class}))
    chosen = Thresholds.read(file)
    names, ids = ("rat", "dog", "cat", "rat"), (7, 3, 1, 9)
    assert chosen.of_classes(names, ids) == [0.5, 0.5, 0.25, 1.0]
    with pytest.raises(UserError, match=r"no class 'cat' in the checkpoint, which has dog"):
        chosen.of_classes(("dog",), (1,))
    with pytest.raises(UserError, match="does not name its classes"):
        chosen.of_classes(None, None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", 'has no "overall"'),
        ('{"per_class": {}}', 'has no "overall"'),
        ('{"overall": null}', "overall is None; give 0 to 1"),
        ('{"overall": true}', "overall is True; give 0 to 1"),
        ('{"overall": NaN}', "overall is nan; give 0 to 1"),
        ('{"overall": 1.5}', "overall is 1.5; give 0 to 1"),
        ('{"overall": 0.5, "per_class": [0.5]}', r"per_class is \[0.5\]"),
        ('{"overall": 0.5, "per_class": {"a": "0.5"}}', "per_class 'a' is '0.5'; give 0 to 1"),
        ('{"overall": 0.5, "per_class": {"a": 1e999}}', "per_class 'a' is inf; give 0 to 1"),
    ],
)
def test_what_is_none_is_refused_in_one_line(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "own.json"
    file.write_text(content)
    with pytest.raises(UserError, match=said) as caught:
        Thresholds.read(file)
    assert "own.json" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        Thresholds.read(tmp_path / "none.json")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        Thresholds.read(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is no JSON"):
        Thresholds.read(tmp_path / "a.bin")

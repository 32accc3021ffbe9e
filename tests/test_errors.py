"""What a message may repeat of foreign text."""

import pickle

import pytest

from fcos_lightning.errors import (
    CHOICES_CHARACTERS,
    MESSAGE_CHARACTERS,
    SharedError,
    UserError,
    calling,
    shown,
)


@pytest.mark.parametrize(
    "value",
    ["x" * 200_000, "\x1b[2J\n", "\ud800", 10**4000, 10**5000, list(range(10_000)), {"a": ["b"]}],
    ids=["long", "control", "surrogate", "digits", "more digits", "list", "dict"],
)
def test_a_shown_value_is_short_and_printable(value: object) -> None:
    assert len(shown(value)) <= 80 and shown(value).isprintable()


def test_a_value_nested_deep_is_shown() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    assert "..." in shown(value)


def test_short_values_are_shown_as_they_are() -> None:
    assert [shown(one) for one in ("é'", 1.5, None, [1, "2"])] == [
        '"é\'"',
        "1.5",
        "None",
        "[1, '2']",
    ]


def test_a_message_is_one_printable_line_whatever_is_in_it() -> None:
    assert str(UserError("a\nb \x1b[31m é \udcff \u202e")) == r"a\nb \x1b[31m é \udcff \u202e"


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    message = str(UserError("what is wrong " + "x" * 9999 + " what to do"))
    assert len(message) <= MESSAGE_CHARACTERS
    assert message.startswith("what is wrong") and message.endswith("what to do")


def test_an_error_of_a_loader_process_keeps_its_lines() -> None:
    text = "Caught UserError in DataLoader worker process 0.\nOriginal Traceback\nUserError: bad"
    assert str(UserError(text)) == text


def test_an_error_stays_the_same_in_another_process() -> None:
    error = UserError("a\nb" + "x" * 5000)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_what_there_is_to_choose_from_is_shown_behind_the_message() -> None:
    names = [f"choice_{number}" for number in range(40)]
    error = SharedError("x" * 5000 + ": there are", choices=names)
    assert str(error).endswith(f"x: there are {', '.join(names)}")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert type(pickle.loads(pickle.dumps(error))) is SharedError
    many = UserError("there are", choices=[f"choice_{number}" for number in range(4000)])
    assert len(str(many)) <= CHOICES_CHARACTERS and str(many).endswith(" more")


def test_a_path_that_nobody_knows_of_has_a_name_however_long_it_is() -> None:
    path = "/home/" + "x/" * 200 + "root"
    with calling(path, "s3://bucket/x"):
        assert str(UserError(f"{path}/a.json is wrong")) == "s3://bucket/x/a.json is wrong"
    assert "s3://" not in str(UserError(f"{path}/a.json is wrong"))


def test_what_must_be_copied_stands_whole_and_gives_nobody_else_room() -> None:
    address = "https://example.org/" + "a/" * 120 + "net.pth"
    error = UserError(f"{'many words ' * 900}: fetch {address} yourself", whole=(address,))
    assert f": fetch {address} yourself" in str(error)
    assert len(str(error)) <= MESSAGE_CHARACTERS + len(address)
    for strange in ("x" * 5000, "\x1b[31m" * 20, "many words " * 500):
        assert len(str(UserError(f"fetch {strange}", whole=(strange,)))) <= MESSAGE_CHARACTERS
        assert str(UserError(f"fetch {strange}", whole=(strange,))).isprintable()
    twice = UserError(f"{address} " * 50, whole=(address,))
    assert len(str(twice)) <= CHOICES_CHARACTERS


def test_a_choice_of_several_words_stands_whole() -> None:
    choice = "CSV (a table with filename, xmin, ymin, xmax, ymax, class)"
    assert str(UserError("looked for", choices=[choice])).endswith(choice)

import pytest

from fcos_lightning.printing import (
    LONGEST_LINE,
    LONGEST_MESSAGE,
    class_label,
    first_line,
    message_line,
    printable,
    some_of,
)


@pytest.mark.parametrize(
    "text",
    [
        "red \x1b[31m",
        "\x1b]0;title\x07",
        "a\nb",
        "a\rb",
        "\u202eabc",
        "\u2028",
        "\udc80",
        "\x9b1m",
        "\0",
    ],
)
def test_what_a_terminal_obeys_is_spelt_out(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() and "\\" in shown
    shown.encode("utf-8")


@pytest.mark.parametrize("text", ["", "cat", "Müller", "人", "👩‍🔬", "[bold]", "a\\nb", "${x}"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_of_a_long_text_beginning_and_end_are_left() -> None:
    shown = printable("begin" + "x" * 200_000 + "what to do", LONGEST_LINE)
    assert len(shown) == LONGEST_LINE
    assert shown.startswith("beginx") and shown.endswith("xwhat to do") and " ... " in shown


def test_a_message_shortens_names_and_keeps_its_words() -> None:
    name = "/data/" + "x" * 5000 + "/a.png"
    line = message_line(f"image {name} cannot be read, nor {name}; give another")
    assert line.startswith("image /data/xx") and line.endswith("xx/a.png; give another")
    assert "x/a.png cannot be read, nor /data/xx" in line and len(line) <= LONGEST_MESSAGE
    assert message_line("a/" * 100 + " is short") == "a/" * 100 + " is short"
    assert len(message_line("a " * 5000)) == LONGEST_MESSAGE


def test_names_give_way_only_as_far_as_they_have_to() -> None:
    short, long = "/data/" + "s" * 60 + ".png", "/data/" + "x" * 150 + ".png"
    line = message_line(f"{short} and {long}: {'says ' * 10}")
    assert line == f"{short} and {long}: {'says ' * 10}"
    line = message_line(f"{short} and {long}: {'says ' * 20}")
    assert line.startswith(f"{short} and /data/xx") and line.endswith("says says ")
    assert 240 < len(line) <= LONGEST_MESSAGE and " ... " in line


def test_what_is_spelt_out_counts_as_it_is_printed() -> None:
    assert len(message_line("\x1b" * 5000)) <= LONGEST_MESSAGE
    assert len(message_line("a \x1b " * 5000)) <= LONGEST_MESSAGE


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([], ""),
        (["cat"], "cat"),
        (["cat", "dog"], "cat, dog"),
        ([f"n{i}" for i in range(10)], "n0, n1, n2, n3, n4, n5, n6, n7 and 2 more"),
        (["x" * 5000, "y" * 5000], f"{'x' * 22} ... {'x' * 13}, {'y' * 22} ... {'y' * 13}"),
        (["x" * 40] * 5, f"{'x' * 40}, {'x' * 40} and 3 more"),
    ],
)
def test_names_in_a_row(names: list[str], shown: str) -> None:
    assert some_of(names) == shown


def test_the_first_line_of_an_error_without_a_message_is_its_kind() -> None:
    assert first_line(KeyError()) == "KeyError"
    assert first_line(ValueError("one\ntwo")) == "one"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("rice bug -hama padi-", "rice bug (hama padi)"),
        ("-old- sign -30- ", "(old) sign (30)"),
        ("traffic-light", "traffic-light"),
        ("a - b - c", "a - b - c"),
        ("  two\twords ", "two words"),
        ("-", "-"),
        (" ", " "),
        ("\x1b[2J", "\\x1b[2J"),
        ("x" * 500, "x" * 35 + " ... " + "x" * 20),
    ],
)
def test_names_of_classes_are_shown_clean(name: str, shown: str) -> None:
    assert class_label(name) == shown

import pytest

from fcos_lightning.printing import LONGEST_LINE, class_label, first_line, printable


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

"""Who may ask: by token, by the host that is asked, and from which page."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.serving.talking import asked, png, posted, service_of

from fcos_lightning.errors import UserError
from fcos_lightning.serving.access import Access, is_loopback, token_of

LOCKED = Access("127.0.0.1", "s3cret/+=")


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer s3cret",
        "Bearer S3CRET/+=",
        "Basic s3cret/+=",
        "s3cret/+=",
    ],
)
def test_without_its_token_nobody_detects(sent: str | None) -> None:
    headers = {} if sent is None else {"authorization": sent}
    for method, url in (("POST", "/detect"), ("GET", "/metrics"), ("GET", "/none")):
        answer = asked(service_of(access=LOCKED), method, url, headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert "s3cret" not in answer.text


def test_with_its_token_one_does() -> None:
    for sent in ("Bearer s3cret/+=", "bearer s3cret/+="):
        answer = posted(service_of(access=LOCKED), png(), authorization=sent)
        assert answer.status_code == 200


def test_the_page_and_health_need_no_token() -> None:
    for url in ("/", "/healthz", "/openapi.json", "/page/asked.js"):
        assert asked(service_of(access=LOCKED), "GET", url).status_code == 200
    assert 'id="token"' in asked(service_of(access=LOCKED), "GET", "/").text
    assert 'id="token"' not in asked(service_of(), "GET", "/").text


def test_a_token_that_is_no_ascii_is_wrong_and_no_fault() -> None:
    headers = [(b"authorization", "Bearer s3crét".encode())]
    assert asked(service_of(access=LOCKED), "POST", "/detect", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("localhost", True),
        ("LOCALHOST:8000", True),
        ("127.0.0.1:1", True),
        ("[::1]:8000", True),
        ("", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:8000", False),
        ("evil.example:localhost", False),
        ("detector.example", False),
    ],
)
def test_on_this_machine_alone_only_its_own_names_are_answered_to(host: str, fits: bool) -> None:
    """A page of evil.example, whose name means 127.0.0.1 by now, says its own host."""
    for url in ("/", "/healthz"):
        answer = asked(service_of(), "GET", url, headers={"host": host})
        assert answer.status_code == (200 if fits else 400), answer.text


def test_the_names_of_a_proxy_can_be_added() -> None:
    access = Access("127.0.0.1", hosts=("detector.example",))
    for host, status in (("detector.example:443", 200), ("evil.example", 400), ("localhost", 200)):
        answer = asked(service_of(access=access), "GET", "/healthz", headers={"host": host})
        assert answer.status_code == status


def test_to_other_machines_any_name_is_answered_unless_some_are_given() -> None:
    for access, status in ((Access("0.0.0.0", "t"), 200), (Access("0.0.0.0", "t", ("a",)), 400)):
        answer = asked(service_of(access=access), "GET", "/healthz", headers={"host": "b"})
        assert answer.status_code == status


def test_a_page_of_another_site_may_not_have_us_work() -> None:
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        assert posted(service_of(), png(), sec_fetch_site=site).status_code == status


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.8.8"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org", "", "127.0.0.1x"])
def test_no_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_a_token_comes_from_one_place(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    assert token_of(None, None, {}) is None
    assert token_of("word", None, {}) == "word"
    assert token_of(None, str(file), {}) == "from-file"
    assert token_of(None, None, {"FCOS_TOKEN": "variable"}) == "variable"
    for word, path, variable in (
        ("word", str(file), None),
        ("word", None, "variable"),
        (None, str(file), "variable"),
    ):
        environment = {} if variable is None else {"FCOS_TOKEN": variable}
        with pytest.raises(UserError, match="both give a token") as error:
            token_of(word, path, environment)
        assert "word" not in str(error.value) and "variable" not in str(error.value)


@pytest.mark.parametrize("token", ["", " ", "two words", "ümlaut", "line\nbreak"])
def test_a_token_that_cannot_be_sent_is_refused(token: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token)
    with pytest.raises(UserError, match="one word of ASCII") as error:
        token_of(None, None, {"FCOS_TOKEN": token})
    assert len(token.strip()) < 2 or token not in str(error.value)
    with pytest.raises(UserError, match="one word of ASCII"):
        token_of(None, str(tmp_path / "token"), {})


def test_a_token_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"token_file=.*No such file"):
        token_of(None, str(tmp_path / "none"), {})


def test_a_token_is_in_no_text_of_the_program() -> None:
    assert "s3cret" not in repr(LOCKED)

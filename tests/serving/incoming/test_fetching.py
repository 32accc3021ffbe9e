"""Images behind addresses: where a server may be sent, and how much it takes from there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from tests.served_files import Site
from tests.serving.talking import FakePredictor, asked, png, service_of

from fcos_lightning.serving.application import Service
from fcos_lightning.serving.incoming import fetching
from fcos_lightning.serving.incoming.fetching import is_public


def listed(service: Service, *urls: str) -> list[dict[str, Any]]:
    answer = asked(service, "POST", "/detect", json={"urls": urls})
    assert answer.status_code == 200, answer.text
    images: list[dict[str, Any]] = answer.json()["images"]
    assert [one["url"] for one in images] == list(urls)
    return images


def open_service(**limits: Any) -> Service:
    return service_of(FakePredictor(), limits, urls=True, private_urls=True)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254"),
        *("0.0.0.0", "100.64.0.1", "192.0.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1"),
        "2001:0:0:0:0:0:80ff:fffe",
    ],
)
def test_addresses_of_networks_of_ones_own(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "2130706433"),
        *("0x7f000001", "127.1", "0177.0.0.1", "127.0.0.1.", "LOCALHOST"),
    ],
)
def test_no_way_of_writing_it_leads_to_this_machine(host: str, site: Site) -> None:
    site.files["/a.png"] = png()
    port = site.url.rpartition(":")[2]
    (image,) = listed(service_of(urls=True), f"http://{host}:{port}/a.png")
    assert image["found"] is None and image["error"].startswith("the address ")
    assert site.asked == []


def test_a_name_that_means_this_machine_is_found_out(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged is where the connection leads, after the name was looked up."""
    site.files["/a.png"] = png()
    port = int(site.url.rpartition(":")[2])
    plain = socket.getaddrinfo

    def rebound(host: Any, *more: Any, **options: Any) -> Any:
        return plain("127.0.0.1" if host == "innocent.example" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    url = f"http://innocent.example:{port}/a.png"
    (image,) = listed(service_of(urls=True), url)
    assert image["error"] == "the address leads to a network that is not public"
    assert site.asked == []
    (image,) = listed(open_service(), url)
    assert image["found"]["boxes"] == [[0, 0, 1, 1]]


def test_images_behind_addresses_are_looked_at_each_for_itself(site: Site) -> None:
    site.files |= {"/a.png": png(value=10), "/b.png": png(value=20), "/c.png": b"no image"}
    good, none, other, damaged = listed(
        open_service(), *(f"{site.url}{path}" for path in ("/a.png", "/no", "/b.png", "/c.png"))
    )
    assert round(good["found"]["scores"][0] * 255) == 10 and good["error"] is None
    assert none["error"] == "the address answers with status 404"
    assert round(other["found"]["scores"][0] * 255) == 20
    assert "not an image" in damaged["error"]


def redirecting(monkeypatch: pytest.MonkeyPatch, to: Callable[[str], str | None]) -> None:
    """Have the site's handler send on what it is asked for."""
    from tests.served_files import Handler

    plain = Handler.answer

    def answer(self: Any, *, body: bool) -> None:
        where = to(self.path)
        if where is None:
            plain(self, body=body)
            return
        self.send_response(302)
        self.send_header("Location", where)
        self.send_header("Content-Length", "0")
        self.end_headers()

    monkeypatch.setattr(Handler, "answer", answer)


def test_a_redirect_is_followed_and_judged_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/a.png"] = png()
    ways = {
        "/on": "/a.png",
        "/file": "file:///etc/passwd",
        "/ftp": "ftp://127.0.0.1/a.png",
        "/user": f"{site.url.replace('://', '://u:p@')}/a.png",
    }
    redirecting(monkeypatch, lambda path: "/round" if path == "/round" else ways.get(path))
    on, file, ftp, user, endless = listed(
        open_service(), *(f"{site.url}{path}" for path in [*ways, "/round"])
    )
    assert on["found"] is not None
    assert "http://" in file["error"] and "http://" in ftp["error"]
    assert "user or a password" in user["error"] and "leads on" in endless["error"]


def test_a_redirect_from_a_public_place_to_this_machine_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The site stands for a public one by its port; where it leads on, does not."""
    site.files["/a.png"] = png()
    port = int(site.url.rpartition(":")[2])
    judged: list[int] = []
    plain = fetching._socket_to_public

    def judge(address: Any) -> socket.socket:
        judged.append(address[4][1])
        if address[4][1] == port:
            return socket.socket(*address[:3])
        return plain(address)

    monkeypatch.setattr(fetching, "_socket_to_public", judge)
    redirecting(monkeypatch, lambda path: "http://127.0.0.1:9/" if path == "/on" else None)
    (image,) = listed(service_of(urls=True), f"{site.url}/on")
    assert image["error"] == "the address leads to a network that is not public"
    assert judged == [port, 9]


def test_what_is_behind_an_address_is_bounded(site: Site) -> None:
    site.files["/a.png"] = b"x" * 200_000
    for says_length in (True, False):
        site.says_length = says_length
        (image,) = listed(open_service(max_bytes=1000), f"{site.url}/a.png")
        assert "longer than 1000 bytes" in image["error"]


def test_a_place_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.png"
        (image,) = listed(open_service(timeout_s=0.3), url)
    assert image["error"] == "the address took longer than 0.3 s"


def test_no_proxy_of_the_environment_is_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.files["/a.png"] = png()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    (image,) = listed(open_service(), f"{site.url}/a.png")
    assert image["found"] is not None


@pytest.mark.parametrize(
    "url",
    [
        *(
            "file:///etc/passwd",
            "ftp://a/b",
            "gopher://a",
            "//a/b",
            "a.png",
            "",
            "http://",
            "data:,",
        ),
        *("http:///a", "http://[::1", "http://a:99999/", "http://\n127.0.0.1/", "http://.../"),
        "http://" + "a" * 70_000,
    ],
)
def test_what_is_no_address_of_http_is_refused(url: str) -> None:
    (image,) = listed(open_service(), url)
    assert image["found"] is None and image["error"].isprintable()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{}", b"[]", b'{"urls": []}', b'{"urls": "http://a"}', b'{"urls": [1]}'),
        *(b'{"urls": ["http://a"], "more": 1}', b'{"urls": [' + b'"a",' * 20 + b'"a"]}'),
        *(b"[" * 100_000, b"\xff\xfe", b'{"urls": ["a"'),
    ],
)
def test_what_is_no_list_is_refused(content: bytes) -> None:
    service = open_service()
    headers = {"content-type": "application/json"}
    answer = asked(service, "POST", "/detect", content=content, headers=headers)
    assert answer.status_code == 422 and answer.json()["error"].isprintable()


def test_a_list_longer_than_the_line_is_refused(site: Site) -> None:
    service = open_service(queue=2)
    answer = asked(service, "POST", "/detect", json={"urls": [site.url] * 3})
    assert answer.status_code == 429 and site.asked == []

import pytest

from bitrouter.config.address import (
    Address,
    api_base_problem,
    is_link_local_url,
    is_loopback,
    is_loopback_url,
    parse_listen,
    same_origin,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8787", Address("127.0.0.1", 8787)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:80", Address("::1", 80)),
        ("router.example:65535", Address("router.example", 65535)),
        ("unix:/run/b/r.sock", Address("", 0, "/run/b/r.sock")),
    ],
)
def test_a_listener_is_an_address_or_a_socket(text: str, address: Address) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8787",
        ":8787",
        "host",
        "host:",
        "host:65536",
        "host:-1",
        "::1:80",
        "[::1]",
        "[g::]:80",
        "[:::]:80",
        "unix:",
        "unix:relative",
        "unix:/a\x00b",
        "http://h:80",
        "h:٣",
        "h:80\n",
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be host:port, \[v6\]:port or unix:/path$"):
        parse_listen(text)


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("LOCALHOST:1", True),
        ("unix:/x", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("localhost.example:1", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(text: str, loopback: bool) -> None:
    assert is_loopback(text) is loopback


@pytest.mark.parametrize(
    "url",
    ["https://api.example", "http://127.0.0.1:9/v1/", "https://[::1]:8443/a/b", "HTTPS://h/v1"],
)
def test_a_base_url_is_http_with_a_host(url: str) -> None:
    assert api_base_problem(url) is None


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "must be a URL of visible ASCII characters"),
        ("https://h/ü", "must be a URL of visible ASCII characters"),
        ("https://h /v1", "must be a URL of visible ASCII characters"),
        ("https://h/\r\nx", "must be a URL of visible ASCII characters"),
        ("api.example/v1", "must begin with https:// or http://"),
        ("ftp://h", "must begin with https:// or http://"),
        ("file:///etc/passwd", "must begin with https:// or http://"),
        ("https://", "must have a host, and a port from 1 to 65535 if any"),
        ("https:///v1", "must have a host, and a port from 1 to 65535 if any"),
        ("https://h:0", "must have a host, and a port from 1 to 65535 if any"),
        ("https://h;x", "must have a host, and a port from 1 to 65535 if any"),
        ("https://h:99999", "must be a URL such as https://llm.example/v1"),
        ("https://[::1", "must be a URL such as https://llm.example/v1"),
        ("https://u:p@h", "must not hold credentials; write them as `api_key`"),
        ("https://u@h", "must not hold credentials; write them as `api_key`"),
        ("https://h/v1?key=x", "must not have a query or a fragment"),
        ("https://h/v1?", "must not have a query or a fragment"),
        ("https://h/v1#x", "must not have a query or a fragment"),
    ],
)
def test_what_a_base_url_may_not_be(url: str, problem: str) -> None:
    assert api_base_problem(url) == problem


def test_a_loopback_url_is_on_this_machine() -> None:
    assert is_loopback_url("http://localhost:9/v1")
    assert is_loopback_url("http://[::1]")
    assert not is_loopback_url("https://api.example")
    assert not is_loopback_url("")


def test_an_origin_is_scheme_host_and_port() -> None:
    assert same_origin("https://h/v1", "https://H:443/v2")
    assert not same_origin("https://h", "http://h")
    assert not same_origin("https://h", "https://h:8443")
    assert not same_origin("https://h", "https://other")


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://[fe80::1]:80",
        "http://[::ffff:169.254.1.1]",
        "http://100.100.100.200",
        "http://[fd00:ec2::254]",
        "http://metadata.google.internal/v1",
        "https://Metadata.Google.Internal.",
    ],
)
def test_a_link_local_url_is_told(url: str) -> None:
    assert is_link_local_url(url)


@pytest.mark.parametrize("url", ["http://10.0.0.1", "http://127.0.0.1", "https://api.example/v1"])
def test_others_are_not(url: str) -> None:
    assert not is_link_local_url(url)

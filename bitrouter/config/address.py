"""Addresses to listen on and URLs to call."""

import ipaddress
import re
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

LISTEN_FORMS: Final = "host:port, [v6]:port or unix:/path"

_LISTEN: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})"
)
_UNIX: Final = re.compile(r"unix:(/[^\x00-\x1f\x7f]+)")
_URL_TEXT: Final = re.compile(r"[!-~]+")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")


class Address(NamedTuple):
    """A place to listen: a host and a port (0: any free one), or the path of a Unix socket."""

    host: str
    port: int
    path: str | None = None


def parse_listen(text: str) -> Address:
    """Parse host:port, [v6]:port or unix:/path. Raises ValueError without quoting the text."""
    if match := _UNIX.fullmatch(text):
        return Address("", 0, match[1])
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(f"must be {LISTEN_FORMS}")
    if match["v6"] is not None:
        try:
            ipaddress.IPv6Address(match["v6"])
        except ValueError:
            raise ValueError(f"must be {LISTEN_FORMS}") from None
    return Address(match["v6"] or match["host"], int(match["port"]))


def is_loopback(listen: str) -> bool:
    """Whether only this machine can reach the listener. Raises ValueError as `parse_listen`."""
    address = parse_listen(listen)
    return address.path is not None or is_loopback_host(address.host)


def is_loopback_host(host: str) -> bool:
    """Whether a host, a name or an address, is this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def api_base_problem(url: str) -> str | None:
    """What is wrong with a provider's base URL, or None. The text never quotes the URL."""
    if not _URL_TEXT.fullmatch(url):
        return "must be a URL of visible ASCII characters"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "must be a URL such as https://llm.example/v1"
    if parts.scheme not in ("http", "https"):
        return "must begin with https:// or http://"
    if not parts.hostname or not _HOST.fullmatch(parts.hostname) or port == 0:
        return "must have a host, and a port from 1 to 65535 if any"
    if "@" in parts.netloc:
        return "must not hold credentials; write them as `api_key`"
    if "?" in url or "#" in url:
        return "must not have a query or a fragment"
    return None


# Where clouds keep what a machine may know of itself, credentials among it, beside 169.254.0.0/16.
_METADATA_ADDRESSES: Final = frozenset(
    map(ipaddress.ip_address, ("100.100.100.200", "168.63.129.16", "fd00:ec2::254"))
)
_METADATA_NAMES: Final = frozenset({"metadata.google.internal", "metadata.goog", "metadata"})

LINK_LOCAL_PROBLEM: Final = (
    "names a link-local or cloud metadata address; set `allow_link_local: true` at the provider if"
    " that is meant"
)


def is_link_local(host: str) -> bool:
    """Whether a host, a name or an address, is one that only the machine's own cloud answers on."""
    if host.lower().rstrip(".") in _METADATA_NAMES:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_link_local) or mapped in _METADATA_ADDRESSES


def is_link_local_url(url: str) -> bool:
    """Whether the host of a valid URL is such a one."""
    return is_link_local(urlsplit(url).hostname or "")


def is_loopback_url(url: str) -> bool:
    """Whether the host of a valid URL is this machine."""
    return is_loopback_host(urlsplit(url).hostname or "")


def same_origin(one: str, other: str) -> bool:
    """Whether two valid URLs have scheme, host and port in common."""
    return _origin(urlsplit(one)) == _origin(urlsplit(other))


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)

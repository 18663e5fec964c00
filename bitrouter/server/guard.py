"""Who may use the admin API: whoever has the token, and without one this machine alone."""

import hmac
import ipaddress
import re
import socket
import struct
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from bitrouter.config.schema import Secret
from bitrouter.errors import Forbidden, Unauthorized
from bitrouter.protocols import CODECS
from bitrouter.server.answers import error_answer
from bitrouter.state.audit import Actor

_UCRED: Final = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED
_MAX_AGENT_CHARS: Final = 200


def refusal(request: web.BaseRequest, request_id: str, token: Secret) -> web.Response | None:
    """The answer to somebody who may not be here, None for everybody else.

    `token` is server.admin_token. Raises Forbidden where there is none, and see `check_local`.
    """
    if not token:
        check_local(request)
        return None
    if _presents(request, token.reveal()):
        return None
    error = Unauthorized("the admin token is required, as Authorization: Bearer TOKEN")
    answer = error_answer(CODECS[0], error, request_id)
    answer.headers["WWW-Authenticate"] = 'Bearer realm="bitrouter admin"'
    return answer


def actor(request: web.BaseRequest, request_id: str) -> Actor:
    """Who asks, for those who read later what was changed."""
    agent = request.headers.get("User-Agent", "")[:_MAX_AGENT_CHARS]
    plain = agent.encode("utf-8", "backslashreplace").decode()
    return Actor(request.remote or _peer(request), plain, request_id)


def _peer(request: web.BaseRequest) -> str:
    """Whose process is at the other end of a Unix socket."""
    transport = request.transport
    connection: Any = transport.get_extra_info("socket") if transport else None
    try:
        given = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except (AttributeError, OSError):  # it has gone
        return "unix socket"
    return f"unix socket, uid {_UCRED.unpack(given)[1]}"


_PROXY_HEADERS: Final = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")
_HOST: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?"
)


def check_local(request: web.BaseRequest) -> None:
    """Let somebody on this machine in, where no token is set. Raises Forbidden.

    The connection must have come to a loopback address or a Unix socket. That alone would also let
    in what a proxy on this machine passes on, a page that had its own name resolve to 127.0.0.1
    (DNS rebinding), and forms on other sites; their requests give themselves away.
    """
    where = "without server.admin_token the admin API answers on this machine alone"
    how = "set server.admin_token"
    if not _is_local(request):
        raise Forbidden(f"{where}; {how}")
    if any(name in request.headers for name in _PROXY_HEADERS):
        raise Forbidden(f"{where}, and this request came through a proxy; {how}")
    host = request.headers.get("Host", "")
    if not _is_loopback_name(host):
        raise Forbidden(f"{where}, under a name such as localhost or 127.0.0.1; {how}")
    origin = request.headers.get("Origin")
    if origin is not None and _authority(origin) != host.lower():
        raise Forbidden(f"{where}, and not for pages of other origins; {how}")


def _is_local(request: web.BaseRequest) -> bool:
    """Whether the address that the client connected to is loopback or a Unix socket."""
    transport = request.transport
    if transport is None:
        return False
    name = transport.get_extra_info("sockname")
    if isinstance(name, tuple):
        return _is_loopback_address(name[0])
    return isinstance(name, str | bytes)  # the path of a Unix socket


def _is_loopback_name(host: str) -> bool:
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["v6"] or match["name"]
    return name.lower() == "localhost" or _is_loopback_address(name)


def _is_loopback_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _authority(origin: str) -> str | None:
    """Host and port of an origin; None for `null` and for what is none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _presents(request: web.BaseRequest, token: str) -> bool:
    """Whether the request has the token. Compared whole, so that time tells nothing."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(
        given.strip().encode(errors="surrogateescape"), token.encode(errors="surrogateescape")
    )

"""The router's own certificate, for those who put no proxy in front of it."""

import ssl
from typing import Final

from bitrouter.config.address import is_loopback, parse_listen
from bitrouter.config.checks import resolve_path
from bitrouter.config.schema import Config, Tls
from bitrouter.errors import ConfigError, Problem

_ALPN: Final = ["http/1.1"]


class Certificates:
    """What TLS listeners show to clients: another certificate from one handshake to the next.

    `read` judges the files of a configuration and keeps what they hold, `adopt` puts it in use, so
    that a reload is all or nothing. `context` is for the listeners; it is None without `tls`, then
    and for ever, since a listener is made one way or the other.
    """

    def __init__(self) -> None:
        self.context: ssl.SSLContext | None = None
        self._read: ssl.SSLContext | None = None
        self._current: ssl.SSLContext | None = None

    def read(self, config: Config) -> None:
        """Read the files that the configuration names. Raises ConfigError."""
        tls = config.server.tls
        self._read = _context(tls, config.path or "") if tls is not None else None

    def adopt(self) -> None:
        """Show from now on what was read last."""
        if self._read is None:
            return
        self._current = self._read
        if self.context is None:
            self.context = self._read
            # Called within every handshake, whether the client names a host or not. The files are
            # read into a context of their own, as loading them into one that is in use would leave
            # it with the new certificate and the old key if the second of them were wrong.
            self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, host: str | None, context: ssl.SSLContext) -> None:
        if self._current is not None and self._current is not context:
            connection.context = self._current


def is_served_by_tls(config: Config, listen: str, *, admin: bool) -> bool:
    """Whether clients of a listener speak TLS: always at `server.listen`, and at
    `server.admin_listen` where other machines can reach it. Never on a Unix socket.
    """
    if config.server.tls is None or parse_listen(listen).path is not None:
        return False
    return not admin or not is_loopback(listen)


def _context(tls: Tls, config_file: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    cert, key = (resolve_path(text, config_file) for text in (tls.cert, tls.key))
    for name, path in (("cert", cert), ("key", key)):
        _check_readable(name, path, config_file)
    try:
        # A key with a passphrase would ask for it at the terminal.
        context.load_cert_chain(cert, key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
        message = f"{cert} and {key} are no certificate and its key, in PEM: {reason}"
        raise _problem(config_file, "server.tls", message) from error
    return context


def _check_readable(name: str, path: str, config_file: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise _problem(config_file, f"server.tls.{name}", message) from error


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")


def _problem(config_file: str, where: str, message: str) -> ConfigError:
    return ConfigError([Problem(config_file, 0, 0, where, message)])

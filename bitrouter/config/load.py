"""Find bitrouter.yaml, and turn it into a Config."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, TypeVar

from bitrouter.config.address import is_loopback
from bitrouter.config.checks import (
    check_models,
    check_providers,
    check_server,
    check_timers,
    resolve_path,
)
from bitrouter.config.decode import decode, nearest
from bitrouter.config.document import Document, quote_key, read_document, render_path
from bitrouter.config.environment import Expansion, expand, parse_dotenv, read_credentials
from bitrouter.config.payments import check_payments
from bitrouter.config.providers import ProviderResolver, read_catalog
from bitrouter.config.schema import (
    CircuitBreaker,
    Config,
    ConfigFile,
    Limits,
    Payments,
    ProviderEntry,
    Retry,
    RouteEntry,
    ServerSettings,
    Timeouts,
)
from bitrouter.errors import ConfigError, Problem

T = TypeVar("T")

FILE_NAME: Final = "bitrouter.yaml"


def find_config_file(explicit: str | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """The file to read: `--config`, ./bitrouter.yaml, $BITROUTER_HOME's, ~/.bitrouter's, or none.

    Raises ConfigError when `explicit` or the file of a set $BITROUTER_HOME is missing.
    Source: contract.md, section 1.
    """
    if explicit is not None:
        return _existing(cwd / explicit, "--config")
    if os.path.isfile(cwd / FILE_NAME):
        return cwd / FILE_NAME
    if environ.get("BITROUTER_HOME"):
        return _existing(home_dir(environ) / FILE_NAME, "BITROUTER_HOME")
    in_home = home_dir(environ) / FILE_NAME
    return in_home if os.path.isfile(in_home) else None


def _existing(file: Path, origin: str) -> Path:
    if not os.path.exists(file):
        raise ConfigError([Problem(str(file), 0, 0, origin, "there is no such file")])
    return file


def home_dir(environ: Mapping[str, str]) -> Path:
    """$BITROUTER_HOME, else ~/.bitrouter."""
    if home := environ.get("BITROUTER_HOME"):
        return Path(home)
    return Path(environ.get("HOME") or os.path.expanduser("~")) / ".bitrouter"


def state_dir(config: Config, environ: Mapping[str, str]) -> Path:
    """Where dynamic routes and keys are kept: server.state_dir, $STATE_DIRECTORY, <home>/state.

    A relative server.state_dir begins beside the file. Of several directories that systemd gives
    in $STATE_DIRECTORY (systemd.exec, StateDirectory=), the first.
    """
    if config.server.state_dir is not None:
        return Path(resolve_path(config.server.state_dir, config.path or ""))
    if directories := environ.get("STATE_DIRECTORY"):
        return Path(directories.split(":")[0])
    return home_dir(environ) / "state"


def load_config(
    path: Path | None,
    environ: Mapping[str, str],
    protocols: Collection[str],
    *,
    check_secrets: bool = True,
) -> Config:
    """Read bitrouter.yaml over the built-in catalogue; without a path, the catalogue alone.

    A variable is looked for in `environ`, among its credentials, and in `.env` beside the file.
    `protocols` are the words that `api_protocol` may have. Without `check_secrets`, a variable
    that is not set is no problem: values that depend on one are not judged, and an entry that
    cannot be read without it is left out. Raises ConfigError with every problem, in the order of
    the file and those of the environment last.
    """
    environ = {**read_credentials(environ), **environ}
    if path is None:
        nothing = Document("")
        return _resolve(nothing, environ, Expansion({}, {}), _Decoded(nothing))
    document = read_document(_read(path), str(path))
    variables = {**_read_dotenv(path.with_name(".env")), **environ}
    expansion = expand(document, variables, allow_unset=not check_secrets)
    reported = len(document.problems)
    decoded = _Decoded(document)
    check_server(document, check_secrets=check_secrets)
    check_timers(document)
    check_payments(document, check_secrets=check_secrets)
    check_providers(document, read_catalog(), protocols, variables)
    check_models(document, read_catalog())
    unknown = {render_path(place) for place in expansion.unset}
    document.problems[reported:] = [
        problem for problem in document.problems[reported:] if problem.where not in unknown
    ]
    return _resolve(document, variables, expansion, decoded)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise ConfigError([Problem(str(path), 0, 0, "(whole file)", message)]) from error


def _read_dotenv(path: Path) -> dict[str, str]:
    return parse_dotenv(_read(path), str(path)) if os.path.isfile(path) else {}


class _Decoded:
    """The sections of the file as structs; the problems are in the document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._drop_empty_sections()
        self.server = self._section("server", ServerSettings)
        self.timeouts = self._section("timeouts", Timeouts)
        self.limits = self._section("limits", Limits)
        self.retry = self._section("retry", Retry)
        self.circuit_breaker = self._section("circuit_breaker", CircuitBreaker)
        self.payments = self._section("payments", Payments)
        self.providers = self._entries("providers", ProviderEntry)
        self.models = self._entries("models", RouteEntry)

    def _drop_empty_sections(self) -> None:
        """Treat `retry:` with nothing below it as not there, and report unknown sections."""
        root = self._document.root
        known = ConfigFile.__struct_fields__
        for key in list(root):
            if key not in known:
                hint = nearest(key, known) or ";"
                message = f"unknown section {quote_key(key)}{hint} allowed: {', '.join(known)}"
                self._document.report_unknown((key,), message)
            elif root[key] is None:
                del root[key]

    def _section(self, name: str, wanted: type[T]) -> T:
        value = self._document.root.get(name, {})
        return decode(self._document, value, wanted, (name,)) or wanted()

    def _entries(self, name: str, wanted: type[T]) -> dict[str, T]:
        section = self._document.root.get(name, {})
        if not isinstance(section, dict):
            self._document.report((name,), "must be a mapping of names to their settings")
            return {}
        entries: dict[str, T] = {}
        for key, value in section.items():
            given = {} if value is None else value
            entry = decode(self._document, given, wanted, (name, key))
            if entry is not None:
                entries[key] = entry
        return entries


def _resolve(
    document: Document, environ: Mapping[str, str], expansion: Expansion, decoded: _Decoded
) -> Config:
    resolver = ProviderResolver(
        decoded.providers,
        environ,
        timeouts=decoded.timeouts,
        config_file=document.file,
        key_variables=expansion.key_variables,
        unset=frozenset(
            name
            for name in expansion.key_variables
            if ("providers", name, "api_key") in expansion.unset
        ),
    )
    providers = resolver.resolve_all()
    problems = sorted(document.problems, key=lambda problem: (problem.line, problem.column))
    problems += resolver.problems
    if problems:
        raise ConfigError(problems)
    return Config(
        path=document.file or None,
        server=decoded.server,
        providers=providers,
        models=decoded.models,
        timeouts=decoded.timeouts,
        limits=decoded.limits,
        retry=decoded.retry,
        circuit_breaker=decoded.circuit_breaker,
        payments=decoded.payments,
    )


def require_authentication(config: Config, *, has_keys: bool) -> None:
    """Refuse a listener that anybody could use by accident, once it is known whether keys exist.

    `has_keys` says whether clients need a credential: virtual keys exist, or payments are on.
    Called at start, with the listener that is really used. Raises ConfigError when other machines
    can reach a listener and neither a credential nor `allow_unauthenticated` stands in the way, or
    when they can reach /admin without a token. Source: contract.md, section 2.
    """
    server = config.server
    problems: list[Problem] = []
    if not (is_loopback(server.listen) or has_keys or server.allow_unauthenticated):
        message = (
            f"{server.listen} is reachable from other machines and no client needs a key; create a"
            " key, listen on 127.0.0.1, or set server.allow_unauthenticated to true"
        )
        problems.append(Problem(config.path or "", 0, 0, "server.listen", message))
    admin = server.admin_listen or server.listen
    if not (is_loopback(admin) or server.admin_token):
        message = f"empty, and {admin} is reachable from other machines; set a token"
        problems.append(Problem(config.path or "", 0, 0, "server.admin_token", message))
    if problems:
        raise ConfigError(problems)

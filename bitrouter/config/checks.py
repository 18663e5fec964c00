"""Rules that no type expresses: names, references between entries, addresses, headers.

They read the plain values, not the structs, so an entry that is wrong in one way is still checked
in every other. What has the wrong type altogether is left to `decode`.
"""

import os
import re
from collections.abc import Callable, Collection, Iterator
from collections.abc import Mapping as AnyMapping
from typing import Final, cast

from bitrouter.config.address import (
    LINK_LOCAL_PROBLEM,
    api_base_problem,
    is_link_local_url,
    is_loopback,
    parse_listen,
)
from bitrouter.config.decode import nearest
from bitrouter.config.document import Document, Mapping, Path
from bitrouter.config.schema import (
    CatalogEntry,
    Duration,
    Limits,
    Quirk,
    ServerSettings,
    Size,
    Timeouts,
    Traits,
)

MAX_NAME: Final = 256  # reliability.md, section 6
MAX_DERIVED: Final = 32  # providers in a row that derive from one another

# `drain` may be 0: then nothing is waited for. Any other timer would always have run out.
_NOT_ZERO: Final = frozenset(
    {*Timeouts.__struct_fields__, *(key for key in Limits.__struct_fields__ if "bytes" in key)}
    - {"drain"}
)

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_VISIBLE_ASCII: Final = re.compile(r"[!-~]+")
_PROVIDER_NAME: Final = re.compile(r"[^\s:/\x00-\x1f\x7f-\x9f]+")
_ENV_PREFIX: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_HEADER_VALUE: Final = re.compile(r"[!-~](?:[ \t!-~]*[!-~])?")  # section 5.5, ASCII only
_LIST_MEMBER: Final = re.compile(r"[!-+\--~]+")  # of a header that is a list: without a comma

_CREDENTIAL_HEADERS: Final = frozenset(
    {
        "api-key",
        "authorization",
        "cookie",
        "payment-signature",
        "proxy-authorization",
        "set-cookie",
        "x-api-key",
        "x-goog-api-key",
        "x-payment",
    }
)
# Hop-by-hop (RFC 9110, section 7.6.1), or written by the router for each request.
_RESERVED_HEADERS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    }
)
_DEFAULTS: Final = ServerSettings()
_SETTABLE: Final = (*Traits.__struct_fields__, "translate_to")
# What becomes a header: how it may look, and what to say of another look.
_HEADER_TRAITS: Final = (
    ("version", _HEADER_VALUE, "must be visible ASCII text"),
    ("betas", _LIST_MEMBER, "must be visible ASCII characters, without spaces and commas"),
)


def is_credential(text: str) -> bool:
    """Whether a header can carry this as a credential: visible ASCII characters."""
    return _VISIBLE_ASCII.fullmatch(text) is not None


def check_server(document: Document, *, check_secrets: bool) -> None:
    """Listeners parse, and the admin token guards what is not loopback."""
    server = _mapping(document.root, "server")
    for key in ("listen", "admin_listen"):
        value = server.get(key)
        if isinstance(value, str) and (problem := _listen_problem(value)):
            document.report_value(("server", key), problem, value)
    _check_plain_text(document, ("server", "state_dir"), server.get("state_dir"))
    for key, value in _mapping(server, "tls").items():
        _check_plain_text(document, ("server", "tls", key), value)
    if _mapping(server, "tls") and str(server.get("listen")).startswith("unix:"):
        document.report(("server", "tls"), "belongs to a TCP listener; `listen` is a Unix socket")
    token = server.get("admin_token", "")
    path = ("server", "admin_token")
    if isinstance(token, str) and token and not is_credential(token):
        document.report(path, "must be visible ASCII characters without spaces")
    if token == "" and (check_secrets or not document.from_environment(path)):
        _check_unguarded(document, server)


def _listen_problem(text: str) -> str | None:
    try:
        parse_listen(text)
    except ValueError as error:
        return str(error)
    return None


def _check_unguarded(document: Document, server: Mapping) -> None:
    key = "listen" if server.get("admin_listen") is None else "admin_listen"
    listen = server.get(key, _DEFAULTS.listen)
    if isinstance(listen, str) and not _listen_problem(listen) and not is_loopback(listen):
        document.report(
            ("server", "admin_token"),
            f"empty, which is allowed only with a loopback `{key}`; set a token",
        )


def check_timers(document: Document) -> None:
    """A timer of 0 s, or a limit of 0 bytes, would refuse everything."""
    sections: list[Path] = [("timeouts",), ("limits",)]
    for part in ("providers", "models"):
        sections += [(part, name, "timeouts") for name in document.mapping((part,))]
    for path in sections:
        parse = Size.parse if path == ("limits",) else Duration.parse
        for key, value in document.mapping(path).items():
            if key in _NOT_ZERO and _is_zero(value, parse):
                document.report((*path, key), "must be more than 0")


def _is_zero(value: object, parse: Callable[[object], float]) -> bool:
    try:
        return parse(value) == 0
    except ValueError:
        return False


def allows_link_local(entry: Mapping) -> bool:
    """Whether a provider as written may be at a link-local address."""
    return entry.get("allow_link_local") is True


def check_providers(
    document: Document,
    builtins: dict[str, CatalogEntry],
    protocols: Collection[str],
    environ: AnyMapping[str, str],
) -> None:
    """Names, what they derive from, protocols, URLs, headers, model ids."""
    providers = _mapping(document.root, "providers")
    names = {*providers, *builtins}
    _check_cycles(document, providers)
    for name, value in providers.items():
        path: Path = ("providers", name)
        if not _PROVIDER_NAME.fullmatch(name) or len(name) > MAX_NAME:
            document.report_key(path, "a provider's name must be without spaces, `:` and `/`")
        entry = cast("Mapping", value) if isinstance(value, dict) else {}
        derives = entry.get("derives")
        if isinstance(derives, str) and derives not in names:
            document.report_value(
                (*path, "derives"),
                f"there is no such provider{nearest(derives, names) or '; known: ' + _list(names)}",
                derives,
            )
        _check_protocols(document, (*path, "api_protocol"), entry.get("api_protocol"), protocols)
        _check_env_prefix(document, path, entry.get("env_prefix"))
        api_base = entry.get("api_base")
        if isinstance(api_base, str):
            problem = api_base_problem(api_base)
            if problem is None and is_link_local_url(api_base) and not allows_link_local(entry):
                problem = LINK_LOCAL_PROBLEM
            if problem is not None:
                document.report((*path, "api_base"), problem)
        _check_headers(document, path, entry)
        check_quirks(document, path, entry, protocols)
        for model_id in _mapping(entry, "models"):
            _check_model_name(document, (*path, "models"), model_id)
        *_, root = _ancestry(name, providers)
        _check_embedded(document, path, entry, root in builtins and builtins[root].embedded)
        if root in providers and root not in builtins and name == root:
            _check_complete(document, path, entry, protocols, environ)


def _check_cycles(document: Document, providers: Mapping) -> None:
    """Report each ring of `derives` once, at its first provider; and rows that are too long."""
    done: set[str] = set()
    for name in providers:
        chain = list(_ancestry(name, providers))
        last = _derives(chain[-1], providers)
        if len(chain) > MAX_DERIVED:
            message = f"derives through more than {MAX_DERIVED} providers"
            document.report(("providers", name, "derives"), message)
        elif last in chain and done.isdisjoint(chain):
            ring = [*chain[chain.index(last) :], last]
            document.report(
                ("providers", ring[0], "derives"), f"derives from itself: {' -> '.join(ring)}"
            )
        done.update(chain)


def _derives(name: str, providers: Mapping) -> str | None:
    entry = providers.get(name)
    target = entry.get("derives") if isinstance(entry, dict) else None
    return target if isinstance(target, str) else None


def _ancestry(name: str, providers: Mapping) -> Iterator[str]:
    """The provider, what it derives from, and so on; a ring once, and of a long row the start."""
    seen: set[str] = set()
    current: str | None = name
    while current is not None and current not in seen and len(seen) <= MAX_DERIVED:
        seen.add(current)
        yield current
        current = _derives(current, providers)


def _check_complete(
    document: Document,
    path: Path,
    entry: Mapping,
    protocols: Collection[str],
    environ: AnyMapping[str, str],
) -> None:
    """A provider that derives from nothing says what it speaks and where it is."""
    if entry.get("derives") is not None:
        return
    if entry.get("api_protocol") is None:
        document.report_key(path, f"`api_protocol` is missing; allowed: {_list(protocols)}")
    variables = [f"{p}_BASE_URL" for p in env_prefixes(str(path[1]), entry.get("env_prefix"))]
    if entry.get("api_base") is None and not any(environ.get(name) for name in variables):
        document.report_key(path, f"`api_base` is missing; write it, or set {variables[0]}")


def env_prefixes(name: str, given: object) -> tuple[str, ...]:
    """What stands before _API_KEY and _BASE_URL in a provider's variables.

    `given` is its `env_prefix`; without one, the name in capitals with `_` for what is no letter.
    """
    prefixes = given if isinstance(given, list | tuple) else (given,)
    texts = tuple(prefix for prefix in prefixes if isinstance(prefix, str))
    return texts or (re.sub(r"[^A-Za-z0-9_]", "_", name).upper(),)


def _check_protocols(
    document: Document, where: Path, value: object, protocols: Collection[str]
) -> None:
    words = value if isinstance(value, list) else [value]
    if words == []:
        document.report(where, f"needs at least one of {_list(protocols)}")
    for index, word in enumerate(words):
        place = (*where, index) if isinstance(value, list) else where
        if not isinstance(word, str):
            continue
        if word not in protocols:
            hint = nearest(word, protocols)
            document.report_value(
                place, f"unknown protocol{hint or ';'} allowed: {_list(protocols)}", word
            )
        elif word in words[:index]:
            document.report(place, "given twice")


def _check_env_prefix(document: Document, path: Path, value: object) -> None:
    for prefix in value if isinstance(value, list) else [value]:
        if isinstance(prefix, str) and not _ENV_PREFIX.fullmatch(prefix):
            message = "must be letters, digits and `_`, the part before _API_KEY"
            document.report((*path, "env_prefix"), message)


def _check_headers(document: Document, path: Path, entry: Mapping) -> None:
    auth_name = _mapping(entry, "auth").get("header_name")
    if isinstance(auth_name, str):
        if not _HEADER_NAME.fullmatch(auth_name):
            document.report((*path, "auth", "header_name"), "must be an HTTP header name")
        elif auth_name.lower() in _RESERVED_HEADERS:
            document.report((*path, "auth", "header_name"), "the router itself writes this header")
    where = (*path, "default_headers")
    seen = {auth_name.lower()} if isinstance(auth_name, str) else set()
    for name, value in _mapping(entry, "default_headers").items():
        lower = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            document.report_key((*where, name), "must be an HTTP header name")
        elif lower in _CREDENTIAL_HEADERS:
            document.report_key((*where, name), "a credential; write it as `api_key`, with `auth`")
        elif lower in _RESERVED_HEADERS or lower.startswith("x-forwarded-"):
            document.report_key(
                (*where, name), "the router itself writes this header, or leaves it out"
            )
        elif lower in seen:
            document.report_key((*where, name), "this header is given twice")
        seen.add(lower)
        if isinstance(value, str) and not _HEADER_VALUE.fullmatch(value):
            document.report((*where, name), "must be visible ASCII text")


def check_quirks(
    document: Document, path: Path, entry: Mapping, protocols: Collection[str]
) -> None:
    """The rules in `quirks` of the mapping at `path`: words of protocols, globs, header values."""
    rules = entry.get("quirks")
    for index, value in enumerate(rules if isinstance(rules, list) else ()):
        if isinstance(value, dict):
            _check_quirk(document, (*path, "quirks", index), value, protocols)


def _check_quirk(document: Document, path: Path, rule: Mapping, protocols: Collection[str]) -> None:
    given = {key for key, value in rule.items() if value is not None}
    if given.isdisjoint(_SETTABLE) and given <= {*Quirk.__struct_fields__}:
        document.report(path, f"sets nothing; give at least one of {', '.join(_SETTABLE)}")
    for key in ("protocols", "translate_to"):
        _check_protocols(document, (*path, key), rule.get(key), protocols)
    if {"protocols", "translate_to"} <= given:
        message = "holds for clients of every protocol; leave `protocols` out, or to another rule"
        document.report((*path, "translate_to"), message)
    if rule.get("models") == []:
        document.report((*path, "models"), "needs at least one glob, such as `*-mini`")
    for key, shape, message in _HEADER_TRAITS:
        for place, text in _texts((*path, key), rule.get(key)):
            if not shape.fullmatch(text):
                document.report(place, message)
    for place, text in _texts((*path, "models"), rule.get("models")):
        if not text or _CONTROL.search(text):
            document.report(place, "must be a glob over model ids, such as `*-mini`")


def _texts(path: Path, value: object) -> Iterator[tuple[Path, str]]:
    """The texts of a field that takes one or a list, each with its place."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        yield from (((*path, at), text) for at, text in enumerate(value) if isinstance(text, str))


def _check_embedded(document: Document, path: Path, entry: Mapping, embedded: bool) -> None:
    if not embedded:
        for key in ("model_path", "threads"):
            if entry.get(key) is not None:
                message = "belongs to a provider that the router runs itself, such as one that"
                document.report((*path, key), f"{message} has `derives: local`")
        return
    for key in ("api_base", "api_protocol", "auth"):
        if entry.get(key) is not None:
            document.report((*path, key), "the router runs this provider itself, and knows it")
    model_path = entry.get("model_path")
    is_text = _check_plain_text(document, (*path, "model_path"), model_path)
    if is_text and not os.path.isfile(resolve_path(str(model_path), document.file)):
        document.report_value((*path, "model_path"), "no such file", model_path)


def resolve_path(text: str, config_file: str) -> str:
    """A path of the file: `~` is the home, and a relative one begins beside the file."""
    return os.path.join(os.path.dirname(config_file), os.path.expanduser(text))


def _check_plain_text(document: Document, path: Path, value: object) -> bool:
    """Whether the value is text that the file system can hold; report it if it cannot."""
    if not isinstance(value, str):
        return False
    if not value or _CONTROL.search(value):
        document.report(path, "must be a path, without control characters")
        return False
    return True


def check_models(document: Document, builtins: dict[str, CatalogEntry]) -> None:
    """Route names, wildcards, and that every endpoint's provider exists."""
    known = {*_mapping(document.root, "providers"), *builtins}
    for name, value in _mapping(document.root, "models").items():
        path: Path = ("models", name)
        _check_model_name(document, ("models",), name)
        if "*" in name[:-1]:
            message = "a wildcard is one `*` at the end of the name, such as `acme/*`"
            document.report_key(path, message)
        if isinstance(value, dict) and isinstance(value.get("endpoints"), list):
            for index, endpoint in enumerate(value["endpoints"]):
                if isinstance(endpoint, dict):
                    place = (*path, "endpoints", index)
                    _check_endpoint(document, place, endpoint, known, name.endswith("*"))
            _check_rescue(document, path, value)


def _check_rescue(document: Document, path: Path, route: Mapping) -> None:
    """A stream is never finished by the endpoint that broke it off."""
    endpoints = route.get("endpoints")
    named = {
        f"{endpoint.get('provider')}:{endpoint.get('model_id')}"
        for endpoint in (endpoints if isinstance(endpoints, list) else ())
        if isinstance(endpoint, dict)
    }
    if isinstance(route.get("rescue"), str) and len(named) < 2:
        message = "needs a second endpoint, which finishes what the first broke off"
        document.report((*path, "rescue"), message)


def _check_endpoint(
    document: Document, path: Path, endpoint: Mapping, known: set[str], wildcard: bool
) -> None:
    provider, model_id = endpoint.get("provider"), endpoint.get("model_id")
    if isinstance(provider, str) and provider not in known:
        hint = nearest(provider, known)
        document.report_value(
            (*path, "provider"),
            f"there is no such provider{hint or '; known: ' + _list(known)}",
            provider,
        )
    if isinstance(model_id, str):
        if _CONTROL.search(model_id):
            document.report((*path, "model_id"), "must be without control characters")
        if "*" in model_id and not wildcard:
            message = "`*` stands for the rest of a wildcard's name; this route has none"
            document.report((*path, "model_id"), message)


def _check_model_name(document: Document, path: Path, name: str) -> None:
    if not name or len(name) > MAX_NAME or _CONTROL.search(name):
        document.report_key(
            (*path, name), f"a model's name must be 1 to {MAX_NAME} characters, none of control"
        )


def _list(words: Collection[str]) -> str:
    return ", ".join(sorted(words))


def _mapping(parent: Mapping, key: str) -> Mapping:
    value = parent.get(key)
    return cast("Mapping", value) if isinstance(value, dict) else {}

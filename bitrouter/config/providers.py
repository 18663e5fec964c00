"""The built-in catalogue, the user's entries over it, and the keys that they need."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from bitrouter.config.address import (
    LINK_LOCAL_PROBLEM,
    api_base_problem,
    is_link_local_url,
    is_loopback_url,
    same_origin,
)
from bitrouter.config.checks import MAX_DERIVED, env_prefixes, is_credential, resolve_path
from bitrouter.config.decode import convert
from bitrouter.config.document import read_document
from bitrouter.config.schema import (
    CatalogEntry,
    Embedded,
    Model,
    Provider,
    ProviderEntry,
    Secret,
    Timeouts,
    overlay_timeouts,
)
from bitrouter.errors import Problem

T = TypeVar("T")

_CATALOG: Final = Path(__file__).with_name("catalog")


@cache
def read_catalog() -> dict[str, CatalogEntry]:
    """The built-in providers, by name: one file of `config/catalog` each."""
    return {
        file.stem: convert(read_document(file.read_bytes(), file.name).root, CatalogEntry)
        for file in sorted(_CATALOG.glob("*.yaml"))
    }


class ProviderResolver:
    """Merges entries over what they derive from, and looks up keys and base URLs.

    `entries` are the user's, `environ` the environment with `.env`, `key_variables` the names of
    the variables that stand at their `api_key`, `unset` those of them without a value. Problems
    are those of environment variables; the rest is `checks`' part.
    """

    def __init__(
        self,
        entries: Mapping[str, ProviderEntry],
        environ: Mapping[str, str],
        *,
        timeouts: Timeouts,
        config_file: str,
        key_variables: Mapping[str, str],
        unset: frozenset[str],
    ) -> None:
        self._entries = entries
        self._environ = environ
        self._timeouts = timeouts
        self._config_file = config_file
        self._key_variables = key_variables
        self._unset = unset
        self._resolved: dict[str, Provider | None] = {}
        self._depth = 0
        self.problems: list[Problem] = []

    def resolve_all(self) -> dict[str, Provider]:
        """Every provider that can be built, the built-ins first."""
        names = {**read_catalog(), **self._entries}
        resolved = ((name, self._resolve(name)) for name in names)
        return {name: provider for name, provider in resolved if provider is not None}

    def _resolve(self, name: str) -> Provider | None:
        if name not in self._resolved:
            if self._depth > MAX_DERIVED:
                return None  # `checks` reports it, and a ring of `derives`
            self._resolved[name] = None
            self._depth += 1
            self._resolved[name] = self._build(name)
            self._depth -= 1
        return self._resolved[name]

    def _build(self, name: str) -> Provider | None:
        entry = self._entries.get(name, ProviderEntry())
        if entry.derives is not None:
            base = self._resolve(entry.derives)
            if base is None:
                return None
        else:
            base = self._builtin(name)
        prefixes = self._prefixes(name, entry)
        protocols = _protocols(entry) or (base.protocols if base else ())
        embedded = self._embedded(entry, base)
        api_base = "" if embedded else self._api_base(entry, base, prefixes)
        provider = Provider(
            name=name,
            protocols=protocols,
            api_base=api_base,
            auth=entry.auth or (base.auth if base else None),
            default_headers=_first(entry.default_headers, base.default_headers if base else {}),
            timeouts=overlay_timeouts(base.timeouts if base else self._timeouts, entry.timeouts),
            models=self._models(entry, base),
            quirks=(*(base.quirks if base else ()), *(entry.quirks or ())),
            embedded=embedded,
            allow_link_local=_first(
                entry.allow_link_local, base.allow_link_local if base else False
            ),
        )
        return self._with_key(provider, entry, base, prefixes)

    def _builtin(self, name: str) -> Provider | None:
        """A file of the catalogue as if it were derived from."""
        builtin = read_catalog().get(name)
        if builtin is None:
            return None
        return Provider(
            name=name,
            protocols=_protocols(builtin),
            api_base=builtin.api_base or "",
            auth=builtin.auth,
            default_headers=builtin.default_headers or {},
            timeouts=overlay_timeouts(self._timeouts, builtin.timeouts),
            models=builtin.models or {},
            quirks=builtin.quirks or (),
            embedded=Embedded() if builtin.embedded else None,
        )

    def _prefixes(self, name: str, entry: ProviderEntry) -> tuple[str, ...]:
        """What stands before _API_KEY and _BASE_URL in this provider's variables."""
        prefix = entry.env_prefix
        if prefix is None and entry.derives is None and name in read_catalog():
            prefix = read_catalog()[name].env_prefix
        return env_prefixes(name, prefix)

    def _api_base(
        self, entry: ProviderEntry, base: Provider | None, prefixes: Iterable[str]
    ) -> str:
        if entry.api_base is not None:
            return "" if api_base_problem(entry.api_base) else entry.api_base.rstrip("/")
        for prefix in prefixes:
            variable = f"{prefix}_BASE_URL"
            if url := self._environ.get(variable, "").strip():
                problem = api_base_problem(url)
                if problem is None and is_link_local_url(url) and not entry.allow_link_local:
                    problem = LINK_LOCAL_PROBLEM
                if problem:
                    self.problems.append(Problem("environment", 0, 0, variable, problem))
                    return ""
                return url.rstrip("/")
        return base.api_base if base else ""

    def _embedded(self, entry: ProviderEntry, base: Provider | None) -> Embedded | None:
        if base is None or base.embedded is None:
            return None
        path = entry.model_path
        return Embedded(
            model_path=resolve_path(path, self._config_file) if path else base.embedded.model_path,
            threads=entry.threads or base.embedded.threads,
        )

    def _models(self, entry: ProviderEntry, base: Provider | None) -> dict[str, Model]:
        """A derived provider has its own models or its base's; a built-in gets more, or others."""
        inherited = base.models if base else {}
        if entry.derives is not None:
            return _first(entry.models, inherited)
        return {**inherited, **(entry.models or {})}

    def _with_key(
        self,
        provider: Provider,
        entry: ProviderEntry,
        base: Provider | None,
        prefixes: tuple[str, ...],
    ) -> Provider:
        if provider.embedded or (provider.auth and provider.auth.type == "none"):
            return provider
        key = self._own_key(entry, prefixes)
        variable = self._key_variables.get(provider.name, f"{prefixes[0]}_API_KEY")
        if key and not is_credential(key):
            return msgspec.structs.replace(
                provider, unusable=f"its API key has characters no header can carry: {variable}"
            )
        if key:
            return msgspec.structs.replace(provider, api_key=Secret(key))
        if entry.derives and base and _shares_key(provider, base):
            return msgspec.structs.replace(provider, api_key=base.api_key, unusable=base.unusable)
        if provider.name not in self._unset and is_loopback_url(provider.api_base):
            return provider
        return msgspec.structs.replace(provider, unusable=f"no API key: set {variable}")

    def _own_key(self, entry: ProviderEntry, prefixes: Iterable[str]) -> str:
        if entry.api_key and (key := entry.api_key.reveal().strip()):
            return key
        for prefix in prefixes:
            if key := self._environ.get(f"{prefix}_API_KEY", "").strip():
                return key
        return ""


def _shares_key(provider: Provider, base: Provider) -> bool:
    """A key is inherited only where it goes to the server that it was meant for."""
    return same_origin(provider.api_base, base.api_base)


def _protocols(entry: ProviderEntry) -> tuple[str, ...]:
    words = entry.api_protocol or ()
    return (words,) if isinstance(words, str) else words


def _first(own: T | None, inherited: T) -> T:
    return inherited if own is None else own

"""What differs between two configurations: names and paths, never values, which can be secret."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from bitrouter.config.schema import Config


class Names(msgspec.Struct, frozen=True):
    """What differs between two mappings."""

    added: list[str]
    removed: list[str]
    changed: list[str]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between two configurations.

    `keys_rotated` are the providers that have another key now; they are among those that changed.
    `settings` are the paths of everything else, such as `limits.max_body_bytes`.
    """

    providers: Names
    models: Names
    keys_rotated: list[str]
    settings: list[str]

    def __bool__(self) -> bool:
        return bool(self.providers or self.models or self.settings)


# Read when the listeners, the connections to providers and the state directory are made.
AT_START: Final = (
    "server.listen",
    "server.admin_listen",
    "server.state_dir",
    "limits.max_header_bytes",
    "timeouts.keepalive",
    "payments.x402.enabled",
    "payments.x402.facilitator",
    "payments.x402.rpc_url",
)

_NOT_SETTINGS: Final = frozenset({"path", "providers", "models"})


def compare(old: Config, new: Config) -> Changes:
    """What `new` changes."""
    return Changes(
        providers=compare_names(old.providers, new.providers),
        models=compare_names(old.models, new.models),
        keys_rotated=[
            name
            for name, provider in new.providers.items()
            if name in old.providers and old.providers[name].api_key != provider.api_key
        ],
        settings=[
            path
            for name in Config.__struct_fields__
            if name not in _NOT_SETTINGS
            for path in _differing(getattr(old, name), getattr(new, name), name)
        ],
    )


def needs_restart(started: Config, new: Config) -> list[str]:
    """The paths of `new` that only a start applies, `started` being what the last one applied."""
    needed = [path for path in AT_START if _setting(started, path) != _setting(new, path)]
    # Another certificate is shown at once, but a listener speaks TLS for ever or never.
    if (started.server.tls is None) != (new.server.tls is None):
        needed.append("server.tls")
    return needed


def _setting(config: Config, path: str) -> object:
    value: object = config
    for name in path.split("."):
        value = getattr(value, name)
    return value


def compare_names(old: Mapping[str, object], new: Mapping[str, object]) -> Names:
    """What differs between two mappings, each part in the order of its mapping."""
    return Names(
        added=[name for name in new if name not in old],
        removed=[name for name in old if name not in new],
        changed=[name for name in new if name in old and new[name] != old[name]],
    )


def _differing(old: object, new: object, path: str) -> Iterator[str]:
    """The paths of the leaves that differ, of two structs of one type."""
    if old == new:
        return
    if isinstance(old, msgspec.Struct) and type(old) is type(new):
        for name in old.__struct_fields__:
            yield from _differing(getattr(old, name), getattr(new, name), f"{path}.{name}")
    else:
        yield path

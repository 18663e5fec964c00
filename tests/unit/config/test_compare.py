"""What a reload says has changed."""

import msgspec

from bitrouter.config.compare import compare, needs_restart
from bitrouter.config.schema import (
    Config,
    Limits,
    LogSettings,
    Provider,
    Secret,
    ServerSettings,
    Size,
    Tls,
)
from tests.support.routes import config, entry, provider


def with_key(one: Provider, key: str) -> Provider:
    return msgspec.structs.replace(one, api_key=Secret(key))


def test_the_same_is_no_change() -> None:
    old = config([provider("p")], {"m": entry("p:1")})
    new = config([provider("p")], {"m": entry("p:1")})
    assert not compare(old, new)


def test_names_are_told_as_added_removed_or_changed() -> None:
    old = config([provider("p"), provider("q")], {"m": entry("p:1"), "n": entry("q:1")})
    new = config(
        [provider("p", "anthropic"), provider("r")], {"n": entry("q:1"), "o": entry("r:1")}
    )

    found = compare(old, new)

    assert (found.providers.added, found.providers.removed, found.providers.changed) == (
        *(["r"], ["q"], ["p"]),
    )
    assert (found.models.added, found.models.removed, found.models.changed) == (["o"], ["m"], [])
    assert found.keys_rotated == []


def test_a_rotated_key_is_told_without_the_key() -> None:
    old = config([with_key(provider("p"), "sk-old"), provider("q"), with_key(provider("r"), "k")])
    new = config(
        [with_key(provider("p"), "sk-new"), with_key(provider("q"), "sk"), old.providers["r"]]
    )

    found = compare(old, new)

    assert found.keys_rotated == ["p", "q"]
    assert found.providers.changed == ["p", "q"]
    assert b"sk" not in msgspec.json.encode(found)


def test_settings_are_told_by_their_path() -> None:
    new = Config(
        server=ServerSettings(admin_token=Secret("t-secret"), log=LogSettings(level="debug")),
        limits=Limits(max_body_bytes=Size(7)),
    )
    found = compare(Config(), new)
    assert found.settings == ["server.admin_token", "server.log.level", "limits.max_body_bytes"]
    assert b"t-secret" not in msgspec.json.encode(found)


def test_what_only_a_start_applies_is_compared_with_the_start() -> None:
    started = Config()
    new = Config(
        server=ServerSettings(listen="127.0.0.1:1"), limits=Limits(max_header_bytes=Size(9))
    )
    assert needs_restart(started, new) == ["server.listen", "limits.max_header_bytes"]
    assert needs_restart(started, started) == []


def test_tls_can_be_renewed_but_neither_switched_on_nor_off() -> None:
    plain, one, other = (
        Config(server=ServerSettings(tls=tls)) for tls in (None, Tls("a", "b"), Tls("c", "d"))
    )
    assert needs_restart(plain, one) == ["server.tls"]
    assert needs_restart(one, plain) == ["server.tls"]
    assert needs_restart(one, other) == []

"""A provider's name never leads to what only the machine's own cloud answers."""

import socket

import pytest
from aiohttp.abc import ResolveResult

from bitrouter.upstream.resolver import GuardedResolver


def result(host: str) -> ResolveResult:
    return ResolveResult(
        hostname="up.example", host=host, port=443, family=socket.AF_INET, proto=0, flags=0
    )


class Zone:
    """Answers every name with the same addresses."""

    def __init__(self, *addresses: str) -> None:
        self._found = [result(one) for one in addresses]

    async def resolve(self, host: str, port: int, family: int) -> list[ResolveResult]:
        return self._found

    async def close(self) -> None:
        pass


def resolver(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> GuardedResolver:
    guarded = GuardedResolver()
    monkeypatch.setattr(guarded, "_resolver", Zone(*addresses))
    return guarded


async def test_other_addresses_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    guarded = resolver(monkeypatch, "192.0.2.7", "10.0.0.1")

    assert [one["host"] for one in await guarded.resolve("up.example", 443)] == [
        "192.0.2.7",
        "10.0.0.1",
    ]


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "100.100.100.200", "fd00:ec2::254"],
)
async def test_link_local_addresses_do_not(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    mixed = resolver(monkeypatch, address, "192.0.2.7")
    assert [one["host"] for one in await mixed.resolve("up.example", 443)] == ["192.0.2.7"]

    with pytest.raises(OSError, match="link-local"):
        await resolver(monkeypatch, address).resolve("up.example", 443)


async def test_the_configuration_can_allow_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    guarded = resolver(monkeypatch, "169.254.1.1")
    guarded.allowed = frozenset({"up.example"})

    assert len(await guarded.resolve("UP.example", 443)) == 1

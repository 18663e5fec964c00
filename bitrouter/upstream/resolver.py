"""Looking up providers' names, without being led to the machine's own cloud.

A name in the configuration may come to mean a link-local address later, by mistake or by malice of
whoever runs its zone; what answers there hands out the machine's credentials.
"""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from bitrouter.config.address import is_link_local


class GuardedResolver(AbstractResolver):
    """The usual resolver, whose link-local answers count only for the hosts in `allowed`.

    `allowed` are host names, lower case; it is replaced when the configuration is. Addresses in
    place of names are not looked up; `bitrouter check` and a reload refuse those.
    """

    def __init__(self) -> None:
        self._resolver = DefaultResolver()
        self.allowed: frozenset[str] = frozenset()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises OSError when there is none that may be called."""
        found = await self._resolver.resolve(host, port, family)
        if host.lower() in self.allowed:
            return found
        kept = [one for one in found if not is_link_local(one["host"])]
        if not kept:
            raise OSError(None, "the name has link-local addresses alone")
        return kept

    async def close(self) -> None:
        """Release what the resolver holds."""
        await self._resolver.close()

"""Where providers are reached, and the embedded models that run for some of them."""

import asyncio
from collections.abc import Mapping

from bitrouter.config.schema import Embedded, Provider, Secret
from bitrouter.exchange.plan import Target
from bitrouter.local.supervisor import EmbeddedModel


class Targets:
    """Where each provider is reached. An embedded model is started by the first who asks."""

    def __init__(self) -> None:
        # By the identity of what the target is made of, which is kept alive for as long.
        self._known: dict[int, tuple[object, Target]] = {}
        self._models: dict[str, tuple[Embedded, EmbeddedModel]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def find(self, provider: Provider) -> Target:
        """Raises UpstreamUnavailable when an embedded model cannot be had."""
        if provider.embedded is not None:
            return await self._embedded(provider, provider.embedded)
        return self._target(provider, provider.api_base, provider.api_key)

    def _target(self, owner: object, api_base: str, api_key: Secret | None) -> Target:
        known = self._known.get(id(owner))
        if known is None:
            known = (owner, Target(api_base, api_key))
            self._known[id(owner)] = known
        return known[1]

    async def _embedded(self, provider: Provider, settings: Embedded) -> Target:
        entry = self._models.get(provider.name)
        if entry is None or entry[0] != settings:
            if entry is not None:
                self._retire(entry[1])
            entry = (settings, EmbeddedModel(settings))
            self._models[provider.name] = entry
        endpoint = await entry[1].endpoint()
        return self._target(endpoint, endpoint.base_url, endpoint.api_key)

    def forget(self, providers: Mapping[str, Provider]) -> None:
        """Forget all targets, after a reload; stop the models that no provider has any more."""
        self._known.clear()
        for name in [name for name in self._models if name not in providers]:
            self._retire(self._models.pop(name)[1])

    def _retire(self, model: EmbeddedModel) -> None:
        task = asyncio.get_running_loop().create_task(model.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Stop every embedded model."""
        closing = [model.close() for _, model in self._models.values()]
        await asyncio.gather(*closing, *self._closing)

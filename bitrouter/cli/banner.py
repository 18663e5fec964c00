"""What `serve` says when it is ready."""

import functools
import shlex
from collections.abc import Sequence
from typing import Final

from bitrouter import __version__
from bitrouter.config.schema import Config, Provider
from bitrouter.protocols import CODECS
from bitrouter.protocols.codec import Codec

_PROMPT: Final = "Say hello in five words."


def banner(addresses: Sequence[str], config: Config, auth_mode: str) -> str:
    """One line: the addresses, the providers that can be used, the routes, who may call."""
    usable = [provider for provider in config.providers.values() if provider.unusable is None]
    names = [provider.name for provider in usable if provider.embedded is None]
    providers = ", ".join(names) or (
        "no provider key found, the embedded model answers"
        if usable
        else "none is usable, for want of a key and of the embedded model"
    )
    count = len(config.models)
    routes = f"{count} route{'s' if count > 1 else ''}" if count else "provider:model"
    return (
        f"bitrouter {__version__} listening on {' and '.join(addresses)}"
        f" · providers: {providers} · routes: {routes} · auth: {auth_mode}"
        f" · config: {config.path or 'none'}"
    )


def examples(config: Config, address: str, *, needs_key: bool) -> str:
    """A curl line for each protocol, ready to be copied."""
    key = ' -H "Authorization: Bearer $BITROUTER_KEY"' if needs_key else ""
    lines = ["", "Try it from another terminal:"]
    for codec in CODECS:
        offer = _cheapest_offer(config, codec)
        if offer is not None:
            provider, model_id = offer
            needs = f", not yet: {provider.unusable}" if provider.unusable else ""
            curl = _curl(codec, address, f"{provider.name}:{model_id}")
            lines += ["", f"  # {codec.name}{needs}", f"  {curl}{key}"]
    if config.payments.x402.enabled:
        lines += ["", "Without a key each answers 402 and says what it costs: docs/payments.md."]
    return "\n".join(lines) + "\n"


def _curl(codec: Codec, address: str, model: str) -> str:
    path, body = codec.example(model, _PROMPT)
    where = f"{address}{path}"
    if address.startswith("unix:"):
        where = f"--unix-socket {address.removeprefix('unix:')} http://localhost{path}"
    return f"curl {where} -H 'Content-Type: application/json' -d {shlex.quote(body.decode())}"


def _cheapest_offer(config: Config, codec: Codec) -> tuple[Provider, str] | None:
    """The cheapest model that writes text, of a provider that can be used if there is one.

    An embedded one comes after those that a key is there for, and what is translated after what
    passes through.
    """
    offers = [
        (provider, model_id)
        for provider in config.providers.values()
        for model_id, model in provider.models.items()
        if "text" in model.output_modalities
    ]
    return min(offers, key=functools.partial(_reluctance, codec), default=None)


def _reluctance(codec: Codec, offer: tuple[Provider, str]) -> tuple[bool, bool, bool, float]:
    provider, model_id = offer
    price = provider.models[model_id].price
    return (
        provider.unusable is not None,
        provider.embedded is not None,
        codec.api_protocol not in provider.protocols,
        float(price.input) if price else 0.0,
    )

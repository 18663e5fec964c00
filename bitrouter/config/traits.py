"""How the models of a provider differ, as rules over model ids: what `quirks` means."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Final

from bitrouter.config.decode import convert
from bitrouter.config.document import read_document
from bitrouter.config.schema import Provider, ProviderEntry, Quirk, Traits, Words

_GENERAL: Final = Path(__file__).with_name("quirks.yaml")
_TRAITS: Final = Traits.__struct_fields__


@cache
def general_quirks() -> tuple[Quirk, ...]:
    """The rules that hold for whichever provider serves a model: `config/quirks.yaml`."""
    root = read_document(_GENERAL.read_bytes(), _GENERAL.name).root
    return convert(root, ProviderEntry).quirks or ()


def traits_of(provider: Provider, api_protocol: str, model_id: str) -> Traits:
    """What a translation has to know to ask `model_id` at `provider` in `api_protocol`.

    Nothing is said, then, the later over the earlier: the general rules, what the provider's
    catalogue says the model cannot do, and the provider's own rules. Some 30 us: to be kept.
    """
    found = _traits_set(_matching(general_quirks(), api_protocol, model_id))
    found |= _incapacities(provider, model_id)
    found |= _traits_set(_matching(provider.quirks, api_protocol, model_id))
    return Traits(**found)


def translation_protocol(provider: Provider, model_id: str) -> str:
    """The word of api_protocol in which a model is asked for clients of a protocol that its
    provider does not speak: by the last rule that says so, else the first that the provider has.
    """
    chosen = provider.protocols[0]
    for quirk in (*general_quirks(), *provider.quirks):
        wanted = quirk.translate_to
        if wanted is not None and wanted in provider.protocols and _names(quirk, model_id):
            chosen = wanted
    return chosen


def _matching(quirks: Iterable[Quirk], api_protocol: str, model_id: str) -> Iterator[Quirk]:
    for quirk in quirks:
        concerned = quirk.protocols is None or api_protocol in _words(quirk.protocols)
        if concerned and _names(quirk, model_id):
            yield quirk


def _names(quirk: Quirk, model_id: str) -> bool:
    lower = model_id.lower()
    return any(fnmatchcase(lower, glob.lower()) for glob in _words(quirk.models))


def _words(given: Words) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else given


def _traits_set(quirks: Iterable[Quirk]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for quirk in quirks:
        given = ((name, getattr(quirk, name)) for name in _TRAITS)
        found.update((name, value) for name, value in given if value is not None)
    return found


def _incapacities(provider: Provider, model_id: str) -> dict[str, Any]:
    """What the catalogue denies a model. What it grants says nothing of how."""
    model = provider.models.get(model_id)
    found: dict[str, Any] = {}
    if model is not None and model.capabilities.structured_output is False:
        found["structured_output"] = "tool"
    if model is not None and model.capabilities.reasoning is False:
        found["reasoning"] = "none"
    return found

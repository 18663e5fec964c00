"""What can be asked for: models, routes, and the API document.

One body serves every client's model list (contract.md, section 3), so its `models` are the API
document's or Google's, and its `data` are OpenAI's and Anthropic's at once.
"""

import functools
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final, Literal, TypeVar
from urllib.parse import unquote

import msgspec
import yaml
from aiohttp import web
from msgspec import UNSET, UnsetType
from multidict import MultiMapping

from bitrouter import __version__
from bitrouter.access.credentials import find_credential
from bitrouter.config.schema import Price, RoutePrice
from bitrouter.errors import NotFound, RouteNotFound, RouterError
from bitrouter.protocols import BY_API_PROTOCOL, CODECS
from bitrouter.protocols.codec import Codec
from bitrouter.routing.table import Endpoint, Route, RouteTable
from bitrouter.server.answers import Headers, base_headers, error_answer, json_answer
from bitrouter.server.services import Services

T = TypeVar("T")

_ANTHROPIC: Final = BY_API_PROTOCOL["anthropic"]
_GOOGLE: Final = BY_API_PROTOCOL["google"]

GOOGLE_PATHS: Final = ("/v1beta/models", "/v1alpha/models")

# No provider's catalogue tells it. Anthropic: "May be set to an epoch value if the release date is
# unknown" (SDK, ModelInfo.created_at); OpenAI wants an integer, Google some version.
_CREATED: Final = 0
_CREATED_AT: Final = "1970-01-01T00:00:00Z"
_VERSION: Final = "1"


class PriceView(msgspec.Struct, frozen=True, kw_only=True):
    """USD per million tokens, or `call`: a decimal string, USD a call."""

    input: float | UnsetType = UNSET
    output: float | UnsetType = UNSET
    cache_read: float | UnsetType = UNSET
    cache_write: float | UnsetType = UNSET
    call: str | UnsetType = UNSET


class ModelResponse(msgspec.Struct, frozen=True, kw_only=True):
    """ModelResponse of the API document: a provider's model. What is not known is absent."""

    id: str
    provider: str
    name: str
    description: str | UnsetType = UNSET
    max_input_tokens: int | UnsetType = UNSET
    max_output_tokens: int | UnsetType = UNSET
    input_modalities: tuple[str, ...] | UnsetType = UNSET
    output_modalities: tuple[str, ...] | UnsetType = UNSET
    price: PriceView | UnsetType = UNSET


class GoogleModel(ModelResponse, frozen=True, kw_only=True, rename=None):
    """The same as Google's clients read it: `name` is what they ask for, as models/{name}."""

    display_name: str = msgspec.field(name="displayName")
    input_token_limit: int | UnsetType = msgspec.field(name="inputTokenLimit", default=UNSET)
    output_token_limit: int | UnsetType = msgspec.field(name="outputTokenLimit", default=UNSET)
    methods: list[str] = msgspec.field(name="supportedGenerationMethods")
    version: str = _VERSION


class ModelObject(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's Model and Anthropic's ModelInfo in one. `id` can be sent as `model`."""

    id: str
    object: Literal["model"] = "model"
    created: int = _CREATED
    owned_by: str
    type: Literal["model"] = "model"
    display_name: str
    created_at: str = _CREATED_AT
    lifecycle: Literal["active"] = "active"
    provider: str
    description: str | UnsetType = UNSET
    max_input_tokens: int | UnsetType = UNSET
    max_tokens: int | UnsetType = UNSET
    max_output_tokens: int | UnsetType = UNSET
    input_modalities: tuple[str, ...] | UnsetType = UNSET
    output_modalities: tuple[str, ...] | UnsetType = UNSET
    price: PriceView | UnsetType = UNSET


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """The superset body. There is one page, so `has_more` is false."""

    models: list[ModelResponse] | list[GoogleModel]
    object: Literal["list"] = "list"
    data: list[ModelObject]
    has_more: Literal[False] = False
    first_id: str | None
    last_id: str | None


class RouteEntry(msgspec.Struct, frozen=True):
    """RouteEntry of the API document: the first endpoint's provider and its protocol's family."""

    model: str
    provider: str
    protocol: str


class Discovery:
    """The pages for clients that look around. They need a key as inference does."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def list_models(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """Every name that can be asked for, and every model behind them, as filtered."""
        codec = asking_codec(request)
        try:
            self._admit(request)
        except RouterError as error:
            return error_answer(codec, error, request_id)
        body = model_list(self._services.routes.current, request.rel_url.query, codec)
        return json_answer(request_id, body)

    async def get_model(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """One of them by its name, in the asking client's dialect."""
        codec = asking_codec(request)
        try:
            self._admit(request)
            offer = _find(self._services.routes.current, decode_name(rest))
        except RouterError as error:
            return error_answer(codec, error, request_id)
        return json_answer(request_id, _google(offer) if codec is _GOOGLE else _object(offer))

    async def list_routes(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """The named routes, those that are dynamic first, wildcards included."""
        self._admit(request)
        routes = self._services.routes.current.routes.values()
        return json_answer(request_id, {"routes": [_route_entry(route) for route in routes]})

    async def get_document(
        self, request: web.BaseRequest, request_id: str, rest: str
    ) -> web.StreamResponse:
        """The API document. It holds nothing of this router's configuration, so no key is asked."""
        return web.Response(
            body=_document(), headers=base_headers(request_id), content_type="application/json"
        )

    def _admit(self, request: web.BaseRequest) -> None:
        """Where calls are sold, everybody may see what there is, and for how much."""
        credential = find_credential(Headers(request), request.rel_url.raw_query_string)
        self._services.caller(credential)


def model_list(table: RouteTable, query: MultiMapping[str], codec: Codec) -> ModelList:
    """Every name that can be asked for, and every model behind them, that match the filters of
    `query`; Google's clients have models of their own shape.
    """
    wanted = _Filter(query)
    offers = [offer for offer in _offers(table) if wanted.admits(offer)]
    data = [_object(offer) for offer in offers]
    return ModelList(
        models=(
            [_google(offer) for offer in offers]
            if codec is _GOOGLE
            else [
                _response(endpoint)
                for endpoint in _usable(table.endpoints())
                if wanted.admits(_direct(endpoint))
            ]
        ),
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
    )


def asking_codec(request: web.BaseRequest) -> Codec:
    """Whose client asks for models, the paths being the same (protocols.md, section 1.4)."""
    if request.rel_url.raw_path.startswith(GOOGLE_PATHS):
        return _GOOGLE
    headers = request.headers
    if "anthropic-version" in headers:
        return _ANTHROPIC
    if (
        "x-goog-api-key" in headers
        or "x-goog-api-client" in headers
        or "key" in request.rel_url.query
    ):
        return _GOOGLE
    return CODECS[0]


def decode_name(rest: str) -> str:
    """The name at the end of a raw path. Raises NotFound when it is not text."""
    try:
        name = unquote(rest, errors="strict")
        name.encode()  # what came unquoted, and is not UTF-8, is in it as lone surrogates
    except UnicodeError as error:
        raise NotFound("the name in the path is not valid UTF-8") from error
    return name


class _Offer(msgspec.Struct, frozen=True):
    """A name, its route, and the first endpoint of it that can be asked."""

    name: str
    route: Route
    endpoint: Endpoint

    @property
    def is_direct(self) -> bool:
        """Whether it is a provider's model, and no route by a name of its own."""
        return self.route.source == "direct"


class _Filter:
    """The filters of a model list. A model is listed when it matches every one given."""

    def __init__(self, query: MultiMapping[str]) -> None:
        self._providers = _given(query, "provider")
        self._ids = [text.casefold() for text in _given(query, "id")]
        self._inputs = _given(query, "input_modality")
        self._outputs = _given(query, "output_modality")

    def admits(self, offer: _Offer) -> bool:
        """Whether the name, a provider's model id if it is one, and one endpoint match."""
        name = (offer.endpoint.model_id if offer.is_direct else offer.name).casefold()
        return all(text in name for text in self._ids) and any(
            self._admits_endpoint(endpoint) for endpoint in _usable(offer.route.endpoints)
        )

    def _admits_endpoint(self, endpoint: Endpoint) -> bool:
        model = endpoint.model
        inputs = model.input_modalities if model else ()
        outputs = model.output_modalities if model else ()
        return (
            all(name == endpoint.provider.name for name in self._providers)
            and all(modality in inputs for modality in self._inputs)
            and all(modality in outputs for modality in self._outputs)
        )


def _given(query: MultiMapping[str], name: str) -> list[str]:
    """The values of a filter; one that is empty, as forms send it, is not given."""
    return [value for value in query.getall(name, []) if value]


def _usable(endpoints: Iterator[Endpoint] | tuple[Endpoint, ...]) -> Iterator[Endpoint]:
    """Those that a request can be sent to as they are: no key is missing, no wildcard is open."""
    return (one for one in endpoints if one.provider.unusable is None and "*" not in one.model_id)


def _direct(endpoint: Endpoint) -> _Offer:
    return _Offer(endpoint.key, Route(endpoint.key, (endpoint,), source="direct"), endpoint)


def _offers(table: RouteTable) -> Iterator[_Offer]:
    """What can be asked for by name: routes, then every endpoint as provider:model_id."""
    for name, route in table.routes.items():
        endpoint = next(_usable(route.endpoints), None)
        if endpoint is not None and not name.endswith("*"):
            yield _Offer(name, route, endpoint)
    for endpoint in _usable(table.endpoints()):
        if endpoint.key not in table.routes:
            yield _direct(endpoint)


def _find(table: RouteTable, name: str) -> _Offer:
    """The model of a name. Raises RouteNotFound.

    A made-up provider:model_id is passed on when it is asked for, but is no model that we know.
    """
    route = table.resolve(name)
    known = {endpoint.key for endpoint in table.endpoints()}
    if route.source == "direct" and route.endpoints[0].key not in known:
        raise RouteNotFound(
            f"model {name!r} is not in the catalogue of provider"
            f" {route.endpoints[0].provider.name!r}, though requests for it are passed on;"
            " GET /v1/models lists all"
        )
    endpoint = next(_usable(route.endpoints), None)
    if endpoint is None:
        provider = route.endpoints[0].provider
        raise RouteNotFound(
            f"model {name!r} is not available: provider {provider.name!r} is not usable:"
            f" {provider.unusable}"
        )
    return _Offer(name, route, endpoint)


def _response(endpoint: Endpoint) -> ModelResponse:
    model = endpoint.model
    if model is None:
        return ModelResponse(
            id=endpoint.model_id, provider=endpoint.provider.name, name=endpoint.model_id
        )
    return ModelResponse(
        id=endpoint.model_id,
        provider=endpoint.provider.name,
        name=model.name or endpoint.model_id,
        description=_known(model.description),
        max_input_tokens=_known(model.max_input_tokens),
        max_output_tokens=_known(model.max_output_tokens),
        input_modalities=model.input_modalities,
        output_modalities=model.output_modalities,
        price=_price(model.price),
    )


def _object(offer: _Offer) -> ModelObject:
    model = _response(offer.endpoint)
    return ModelObject(
        id=offer.name,
        owned_by=model.provider,
        display_name=_display_name(offer, model),
        provider=model.provider,
        description=model.description,
        max_input_tokens=model.max_input_tokens,
        max_tokens=model.max_output_tokens,
        max_output_tokens=model.max_output_tokens,
        input_modalities=model.input_modalities,
        output_modalities=model.output_modalities,
        price=_offer_price(offer),
    )


def _google(offer: _Offer) -> GoogleModel:
    model = _response(offer.endpoint)
    return GoogleModel(
        id=model.id,
        provider=model.provider,
        name=f"models/{offer.name}",
        description=model.description,
        max_input_tokens=model.max_input_tokens,
        max_output_tokens=model.max_output_tokens,
        input_modalities=model.input_modalities,
        output_modalities=model.output_modalities,
        price=_offer_price(offer),
        display_name=_display_name(offer, model),
        input_token_limit=model.max_input_tokens,
        output_token_limit=model.max_output_tokens,
        methods=_google_methods(offer),
    )


def _google_methods(offer: _Offer) -> list[str]:
    """The methods by which a Google client can call the model. Embeddings are not translated."""
    native, foreign = offer.route.by_preference(_GOOGLE.api_protocol)
    endpoint = next(_usable((*native, *foreign)), None)
    if endpoint is None:
        return []
    embeds = endpoint.model is not None and "embedding" in endpoint.model.output_modalities
    if embeds and not native:
        return []
    return [
        operation.suffix.removeprefix(":")
        for operation in _GOOGLE.operations
        if (operation.name == "embeddings") is embeds
    ]


def _display_name(offer: _Offer, model: ModelResponse) -> str:
    return model.name if offer.is_direct else offer.name


def _offer_price(offer: _Offer) -> PriceView | UnsetType:
    """What a stranger pays: see Route.retail_price."""
    return _price(offer.route.retail_price)


def _price(price: Price | RoutePrice | None) -> PriceView | UnsetType:
    if price is None:
        return UNSET
    call = price.call if isinstance(price, RoutePrice) else None
    return PriceView(
        input=_known(price.input),
        output=_known(price.output),
        cache_read=_known(price.cache_read),
        cache_write=_known(price.cache_write),
        call=UNSET if call is None else str(call),
    )


def _known(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value


def _route_entry(route: Route) -> RouteEntry:
    provider = route.endpoints[0].provider
    family = BY_API_PROTOCOL[provider.protocols[0]].family
    return RouteEntry(route.name, provider.name, family)


@functools.cache
def _document() -> bytes:
    """openapi.yaml as JSON, made when it is first asked for: some 30 ms that no start waits for."""
    source = files("bitrouter.server").joinpath("openapi.yaml").read_bytes()
    document: dict[str, Any] = yaml.load(source, yaml.CSafeLoader)
    document["info"]["version"] = __version__
    return msgspec.json.encode(document)

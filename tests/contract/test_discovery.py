"""What clients are told of models and routes, each in its own way."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as google_errors
from yarl import URL

from bitrouter.access.keys import encode_keys, make_key
from tests.conftest import StartRouter
from tests.support.router import RunningRouter

CLAUDE = {"anthropic-version": "2023-06-01"}
KEYED = {"api_base": "http://127.0.0.1:9", "api_key": "key-up"}
SETTINGS: dict[str, Any] = {
    "providers": {
        "acme": {
            **KEYED,
            "api_protocol": ["openai", "anthropic"],
            "models": {
                "Big-1": {
                    "name": "Acme Big",
                    "description": "The big one",
                    "max_input_tokens": 1000,
                    "max_output_tokens": 100,
                    "input_modalities": ["text", "image"],
                    "price": {"input": 3, "output": 15, "cache_read": 0.3},
                },
                "embed/1": {"output_modalities": ["embedding"]},
            },
        },
        "gee": {
            **KEYED,
            "api_protocol": "google",
            "models": {"flash": {}, "vec": {"output_modalities": ["embedding"]}},
        },
        "keyless": {
            "api_base": "http://127.0.0.1:9",
            "api_protocol": "openai",
            "api_key": "${NO_SUCH_KEY}",
            "models": {"lost": {}},
        },
    },
    "models": {
        "any/*": {"endpoints": [{"provider": "acme", "model_id": "*"}]},
        "dead": {"endpoints": [{"provider": "keyless", "model_id": "lost"}]},
        "default": {
            "endpoints": [
                {"provider": "keyless", "model_id": "lost"},
                {"provider": "acme", "model_id": "Big-1"},
                {"provider": "gee", "model_id": "flash"},
            ]
        },
        "new": {"endpoints": [{"provider": "acme", "model_id": "unlisted"}]},
        "team/fast:1": {
            "price": {"call": "0.01"},
            "endpoints": [{"provider": "gee", "model_id": "flash"}],
        },
    },
}
NAMES = [
    "default",
    "new",
    "team/fast:1",
    "acme:Big-1",
    "gee:flash",
    "acme:unlisted",
    "local:smollm2",
    "acme:embed/1",
    "gee:vec",
]


@pytest.fixture
async def router(start_router: StartRouter) -> RunningRouter:
    return await start_router(SETTINGS)


async def get(
    router: RunningRouter,
    path: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    async with router.http.get(URL(router.url + path, encoded=True), headers=headers) as response:
        assert response.status == status
        assert response.content_type == "application/json"
        body: dict[str, Any] = await response.json()
        return body


# -- lists ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/v1/v1/models"])
async def test_one_body_serves_every_client(router: RunningRouter, path: str) -> None:
    body = await get(router, path)
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == NAMES
    assert (body["has_more"], body["first_id"], body["last_id"]) == (False, "default", "gee:vec")
    assert sorted((model["provider"], model["id"]) for model in body["models"]) == [
        ("acme", "Big-1"),
        ("acme", "embed/1"),
        ("acme", "unlisted"),
        ("gee", "flash"),
        ("gee", "vec"),
        ("local", "smollm2"),
    ]


async def test_a_model_has_what_is_known_of_it(router: RunningRouter) -> None:
    body = await get(router, "/v1/models?id=big")
    assert body["models"] == [
        {
            "id": "Big-1",
            "provider": "acme",
            "name": "Acme Big",
            "description": "The big one",
            "max_input_tokens": 1000,
            "max_output_tokens": 100,
            "input_modalities": ["text", "image"],
            "output_modalities": ["text"],
            "price": {"input": 3.0, "output": 15.0, "cache_read": 0.3},
        }
    ]
    assert body["data"] == [
        {
            "id": "acme:Big-1",
            "object": "model",
            "created": 0,
            "owned_by": "acme",
            "type": "model",
            "display_name": "Acme Big",
            "created_at": "1970-01-01T00:00:00Z",
            "lifecycle": "active",
            "provider": "acme",
            "description": "The big one",
            "max_input_tokens": 1000,
            "max_tokens": 100,
            "max_output_tokens": 100,
            "input_modalities": ["text", "image"],
            "output_modalities": ["text"],
            "price": {"input": 3.0, "output": 15.0, "cache_read": 0.3},
        }
    ]


async def test_what_is_not_known_of_a_model_is_absent(router: RunningRouter) -> None:
    body = await get(router, "/v1/models?id=unlisted")
    assert body["models"] == [{"id": "unlisted", "provider": "acme", "name": "unlisted"}]


async def test_a_route_has_its_own_price(router: RunningRouter) -> None:
    assert (await get(router, "/v1/models/team/fast:1"))["price"] == {"call": "0.01"}


@pytest.mark.parametrize(
    ("query", "names", "models"),
    [
        ("provider=gee", ["default", "team/fast:1", "gee:flash", "gee:vec"], ["flash", "vec"]),
        ("provider=ge", [], []),
        ("id=BIG", ["acme:Big-1"], ["Big-1"]),
        ("id=a%2Ff", [], []),
        ("id=m%2FF", ["team/fast:1"], []),
        ("id=acme", [], []),
        ("input_modality=image", ["default", "acme:Big-1"], ["Big-1"]),
        ("output_modality=embedding", ["acme:embed/1", "gee:vec"], ["embed/1", "vec"]),
        ("provider=gee&output_modality=embedding", ["gee:vec"], ["vec"]),
        ("provider=gee&provider=acme", [], []),
        ("id=vec&provider=&unknown=1&limit=1&after_id=x&pageSize=1", ["gee:vec"], ["vec"]),
        ("id=%FF", [], []),
    ],
)
async def test_a_model_is_listed_when_it_matches_every_filter(
    router: RunningRouter, query: str, names: list[str], models: list[str]
) -> None:
    body = await get(router, f"/v1/models?{query}")
    assert [model["id"] for model in body["data"]] == names
    assert [model["id"] for model in body["models"]] == models
    assert body["first_id"] == (names[0] if names else None)
    google = await get(router, f"/v1beta/models?{query}")
    assert [model["name"] for model in google["models"]] == [f"models/{name}" for name in names]


async def test_a_dynamic_route_comes_first(router: RunningRouter) -> None:
    route = {"model": "dyn", "endpoints": [{"provider": "acme", "model_id": "Big-1"}]}
    async with router.http.post("/admin/routes", json=route) as response:
        assert response.status == 200
    assert [model["id"] for model in (await get(router, "/v1/models"))["data"]] == ["dyn", *NAMES]


async def test_every_listed_name_is_found_by_itself(router: RunningRouter) -> None:
    body = await get(router, "/v1/models")
    google = await get(router, "/v1beta/models")
    for model in body["data"]:
        assert await get(router, f"/v1/models/{model['id']}") == model
    for model in google["models"]:
        assert await get(router, f"/v1beta/{model['name']}") == model


async def test_a_name_that_only_resolves_is_found_too(router: RunningRouter) -> None:
    assert (await get(router, "/v1/models/acme/Big-1"))["display_name"] == "Acme Big"
    assert (await get(router, "/v1/models/any/thing"))["id"] == "any/thing"


# -- dialects -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1beta/models", {}),
        ("/v1alpha/models", {}),
        ("/v1/models?key=k", {}),
        ("/v1/models", {"x-goog-api-key": "k"}),
        ("/v1/models", {"x-goog-api-client": "genai"}),
        ("/v1beta/models", {"anthropic-version": "2023-06-01"}),
    ],
)
async def test_googles_clients_get_the_names_in_googles_way(
    router: RunningRouter, path: str, headers: dict[str, str]
) -> None:
    body = await get(router, path, headers=headers)
    assert [model["name"] for model in body["models"]] == [f"models/{name}" for name in NAMES]
    assert body["models"][3] == {
        "id": "Big-1",
        "provider": "acme",
        "name": "models/acme:Big-1",
        "description": "The big one",
        "max_input_tokens": 1000,
        "max_output_tokens": 100,
        "input_modalities": ["text", "image"],
        "output_modalities": ["text"],
        "price": {"input": 3.0, "output": 15.0, "cache_read": 0.3},
        "displayName": "Acme Big",
        "inputTokenLimit": 1000,
        "outputTokenLimit": 100,
        "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"],
        "version": "1",
    }


async def test_googles_clients_are_told_which_methods_there_are(router: RunningRouter) -> None:
    body = await get(router, "/v1beta/models")
    methods = {model["name"]: model["supportedGenerationMethods"] for model in body["models"]}
    generating = ["generateContent", "streamGenerateContent", "countTokens"]
    assert methods["models/gee:flash"] == methods["models/default"] == generating
    assert methods["models/gee:vec"] == ["embedContent", "batchEmbedContents"]
    assert methods["models/acme:embed/1"] == []


async def test_a_name_that_is_none_is_404_in_the_askers_shape(router: RunningRouter) -> None:
    path = "/v1/models/defualt"
    plain = await get(router, path, 404)
    assert plain["error"]["code"] == "model_not_found"
    claude = await get(router, path, 404, {**CLAUDE, "x-goog-api-client": "x"})
    assert claude["type"] == "error"
    google = await get(router, path, 404, {"x-goog-api-client": "x"})
    assert google["error"]["code"] == 404
    assert google == await get(router, "/v1beta/models/defualt", 404)
    for body in (plain, claude, google):
        assert "the nearest names are default, dead" in body["error"]["message"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("acme:Bog-1", "not in the catalogue of provider 'acme'"),
        ("dead", "provider 'keyless' is not usable"),
        ("keyless:lost", "provider 'keyless' is not usable"),
        ("%FF", "UTF-8"),
        ("any%2F", "no route"),
    ],
)
async def test_what_cannot_be_asked_for_is_not_there(
    router: RunningRouter, name: str, said: str
) -> None:
    assert said in (await get(router, f"/v1/models/{name}", 404))["error"]["message"]


# -- the official clients -------------------------------------------------------------------


async def test_openais_client_lists_and_gets(router: RunningRouter) -> None:
    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key="k") as client:
        assert [model.id async for model in client.models.list()] == NAMES
        model = await client.models.retrieve("team/fast:1")
        assert (model.id, model.object, model.created, model.owned_by) == (
            "team/fast:1",
            "model",
            0,
            "gee",
        )
        with pytest.raises(openai.NotFoundError) as caught:
            await client.models.retrieve("nope")
    assert caught.value.code == "model_not_found"


async def test_anthropics_client_lists_and_gets(router: RunningRouter) -> None:
    async with anthropic.AsyncAnthropic(base_url=router.url, api_key="k") as client:
        assert [model.id async for model in client.models.list(limit=2)] == NAMES
        model = await client.models.retrieve("acme:Big-1")
        assert (model.id, model.type, model.display_name, model.lifecycle) == (
            "acme:Big-1",
            "model",
            "Acme Big",
            "active",
        )
        assert (model.max_input_tokens, model.max_tokens) == (1000, 100)
        assert model.created_at.timestamp() == 0
        with pytest.raises(anthropic.NotFoundError) as caught:
            await client.models.retrieve("nope")
    assert caught.value.type == "not_found_error"


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
async def test_googles_client_lists_and_gets(router: RunningRouter, version: str) -> None:
    options = genai.types.HttpOptions(base_url=router.url, api_version=version)
    async with genai.Client(api_key="k", http_options=options).aio as client:
        pager = await client.models.list()
        assert [model.name async for model in pager] == [f"models/{name}" for name in NAMES]
        model = await client.models.get(model="acme:Big-1")
        assert (model.name, model.display_name) == ("models/acme:Big-1", "Acme Big")
        assert (model.input_token_limit, model.output_token_limit) == (1000, 100)
        model = await client.models.get(model="models/team/fast:1")
        assert model.supported_actions is not None
        assert "generateContent" in model.supported_actions
        with pytest.raises(google_errors.ClientError) as caught:
            await client.models.get(model="nope")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


# -- routes and keys ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/routes", "/routes", "/v1/v1/routes"])
async def test_a_route_maps_to_its_first_provider_and_that_ones_family(
    router: RunningRouter, path: str
) -> None:
    assert await get(router, path) == {
        "routes": [
            {"model": "any/*", "provider": "acme", "protocol": "openai"},
            {"model": "dead", "provider": "keyless", "protocol": "openai"},
            {"model": "default", "provider": "keyless", "protocol": "openai"},
            {"model": "new", "provider": "acme", "protocol": "openai"},
            {"model": "team/fast:1", "provider": "gee", "protocol": "google"},
        ]
    }


async def test_where_keys_exist_discovery_needs_one_and_the_probes_do_not(
    start_router: StartRouter, tmp_path: Path
) -> None:
    text, key = make_key("test", 0)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "keys.json").write_bytes(encode_keys([key]))
    router = await start_router(SETTINGS)
    for path in ("/v1/models", "/v1/models/default", "/v1/routes"):
        body = await get(router, path, 401, {"Authorization": "Bearer wrong"})
        assert body["error"]["code"] == "invalid_api_key"
        await get(router, path, headers={"Authorization": f"Bearer {text}"})
        await get(router, f"{path}?key={text}")
    body = await get(router, "/v1/models", 401, CLAUDE)
    assert body["error"]["type"] == "authentication_error"
    body = await get(router, "/v1beta/models/default", 401)
    assert body["error"]["status"] == "UNAUTHENTICATED"
    for path in ("/health", "/ready", "/metrics", "/v1/metrics", "/openapi.json"):
        await get(router, path)

"""OpenAI's SDK as a client: Chat Completions, Responses, Embeddings, models, errors."""

from collections.abc import Callable

import openai as sdk
import pytest
from openai import AsyncOpenAI

from tests.conformance.conftest import Serve
from tests.support.dialects import (
    CHAT,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    RESPONSES,
    Dialect,
)
from tests.support.upstream import Reply, ScriptedUpstream, sse

Client = Callable[[str], AsyncOpenAI]
MESSAGES = [{"role": "user", "content": "Hi"}]
ERROR = b'{"error":{"message":"no","type":"t","param":"p","code":"c"}}'


@pytest.fixture(params=["/v1", "", "/v1/v1"], ids=["with /v1", "without", "doubled"])
def suffix(request: pytest.FixtureRequest) -> str:
    """What users write behind the host in `base_url`."""
    text: str = request.param
    return text


async def test_chat(upstream: ScriptedUpstream, serve: Serve, openai: Client, suffix: str) -> None:
    router = await serve(CHAT)
    upstream.script = Reply((CHAT.answer,))
    client = openai(router.url + suffix)
    answer = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "Hi"}]
    )
    assert answer.choices[0].message.content == "Hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (
        INPUT_TOKENS,
        OUTPUT_TOKENS,
    )
    assert answer._request_id is not None
    assert answer._request_id.startswith("req_")


async def test_chat_streamed(upstream: ScriptedUpstream, serve: Serve, openai: Client) -> None:
    router = await serve(CHAT)
    upstream.script = sse(*CHAT.events)
    chunks = [
        chunk
        async for chunk in await openai(f"{router.url}/v1").chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    ]
    texts = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(texts) == "Hello there"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == OUTPUT_TOKENS


async def test_the_helper_that_collects_a_chat_stream(
    upstream: ScriptedUpstream, serve: Serve, openai: Client
) -> None:
    router = await serve(CHAT)
    upstream.script = sse(*CHAT.events)
    async with openai(f"{router.url}/v1").chat.completions.stream(
        model="m", messages=[{"role": "user", "content": "Hi"}]
    ) as stream:
        completion = await stream.get_final_completion()
    assert completion.choices[0].message.content == "Hello there"


async def test_responses(
    upstream: ScriptedUpstream, serve: Serve, openai: Client, suffix: str
) -> None:
    router = await serve(RESPONSES)
    upstream.script = Reply((RESPONSES.answer,))
    response = await openai(router.url + suffix).responses.create(model="m", input="Hi")
    assert response.output_text == "Hello there"
    assert response.usage is not None
    assert response.usage.output_tokens == OUTPUT_TOKENS


async def test_responses_streamed(upstream: ScriptedUpstream, serve: Serve, openai: Client) -> None:
    router = await serve(RESPONSES)
    upstream.script = sse(*RESPONSES.events)
    text = ""
    async for event in await openai(f"{router.url}/v1").responses.create(
        model="m", input="Hi", stream=True
    ):
        if event.type == "response.output_text.delta":
            text += event.delta
    assert text == "Hello there"
    assert event.type == "response.completed"
    assert event.response.output_text == "Hello there"


async def test_the_helper_that_collects_a_response_stream(
    upstream: ScriptedUpstream, serve: Serve, openai: Client
) -> None:
    router = await serve(RESPONSES)
    upstream.script = sse(*RESPONSES.events)
    async with openai(f"{router.url}/v1").responses.stream(model="m", input="Hi") as stream:
        response = await stream.get_final_response()
    assert response.output_text == "Hello there"


async def test_embeddings(upstream: ScriptedUpstream, serve: Serve, openai: Client) -> None:
    router = await serve(CHAT)
    upstream.script = Reply(
        (
            b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,1.0]}],'
            b'"model":"up-1","usage":{"prompt_tokens":1,"total_tokens":1}}',
        )
    )
    answer = await openai(f"{router.url}/v1").embeddings.create(
        model="m", input="Hi", encoding_format="float"
    )
    assert answer.data[0].embedding == [0.5, 1.0]


async def test_models(serve: Serve, openai: Client, suffix: str) -> None:
    client = openai((await serve(CHAT)).url + suffix)
    models = {model.id: model async for model in client.models.list()}
    assert {"m", "p1:up-1", "local:smollm2"} <= models.keys()
    assert models["p1:up-1"].owned_by == "p1"
    assert (await client.models.retrieve("p1:up-1")).id == "p1:up-1"


ERRORS: dict[int, type[sdk.APIStatusError]] = {
    400: sdk.BadRequestError,
    401: sdk.AuthenticationError,
    403: sdk.PermissionDeniedError,
    404: sdk.NotFoundError,
    409: sdk.ConflictError,
    422: sdk.UnprocessableEntityError,
    429: sdk.RateLimitError,
    500: sdk.InternalServerError,
    503: sdk.InternalServerError,
}


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES], ids=lambda one: one.name)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("status", "expected"), ERRORS.items(), ids=map(str, ERRORS))
async def test_a_providers_error_is_the_exception_that_it_would_be_without_a_router(
    upstream: ScriptedUpstream,
    serve: Serve,
    openai: Client,
    dialect: Dialect,
    stream: bool,
    status: int,
    expected: type[sdk.APIStatusError],
) -> None:
    router = await serve(dialect)
    upstream.script = Reply((ERROR,), status=status)
    with pytest.raises(expected) as caught:
        await ask(openai(f"{router.url}/v1"), dialect, "m", stream=stream)
    assert caught.value.status_code == status
    assert caught.value.request_id is not None
    if status not in (401, 403):  # those are about the router's own key
        assert (caught.value.code, caught.value.param) == ("c", "p")


async def ask(client: AsyncOpenAI, dialect: Dialect, model: str, *, stream: bool) -> None:
    """One request in either protocol, read to its end."""
    # Overloads by the literal value of `stream`, of which there is none here.
    options = {"stream": True} if stream else {}
    if dialect is CHAT:
        answer = await client.chat.completions.create(  # type: ignore[call-overload]  # not literal
            model=model, messages=MESSAGES, **options
        )
    else:
        answer = await client.responses.create(  # type: ignore[call-overload]  # not literal
            model=model, input="Hi", **options
        )
    if stream:
        async for _ in answer:
            pass


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES], ids=lambda one: one.name)
async def test_the_routers_own_errors_are_exceptions_too(
    serve: Serve, openai: Client, dialect: Dialect
) -> None:
    client = openai(f"{(await serve(dialect)).url}/v1")
    with pytest.raises(sdk.NotFoundError) as caught:
        await ask(client, dialect, "n", stream=False)
    assert caught.value.code == "model_not_found"
    assert caught.value.type == "not_found_error"
    assert "no route for model 'n'" in caught.value.message


async def test_a_chat_stream_that_breaks_is_an_exception_and_not_a_short_answer(
    upstream: ScriptedUpstream, serve: Serve, openai: Client
) -> None:
    router = await serve(CHAT)
    upstream.script = sse(*CHAT.events[:2], cut=True)
    with pytest.raises(sdk.APIError, match="broke off"):
        await ask(openai(f"{router.url}/v1"), CHAT, "m", stream=True)


async def test_a_response_stream_that_breaks_ends_with_a_failed_response(
    upstream: ScriptedUpstream, serve: Serve, openai: Client
) -> None:
    router = await serve(RESPONSES)
    upstream.script = sse(*RESPONSES.events[:4], cut=True)
    events = [
        event
        async for event in await openai(f"{router.url}/v1").responses.create(
            model="m", input="Hi", stream=True
        )
    ]
    assert events[-1].type == "response.failed"
    assert events[-1].response.status == "failed"
    assert events[-1].response.error is not None

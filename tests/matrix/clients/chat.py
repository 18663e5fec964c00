"""OpenAI's SDK, Chat Completions."""

import json
from collections.abc import Iterator
from typing import Any, Final

import openai as sdk
from openai import AsyncOpenAI

from tests.matrix.clients.base import KEY, Client, said
from tests.matrix.question import (
    Called,
    Counted,
    Failed,
    Finish,
    Image,
    OnText,
    Part,
    Pdf,
    PlainDocument,
    Question,
    Replayed,
    Reply,
    Result,
    Results,
    Said,
    SaidCalls,
    Schema,
    Sound,
    SystemNote,
    Tool,
    Turn,
    Unsayable,
    User,
)

FINISH: Final[dict[str, Finish]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "filtered",
}
_SDKS_OWN: Final = {"parsed", "parsed_arguments", "index"}


class ChatClient(Client):
    """`client.chat.completions`, and its helper that collects a stream."""

    name = "chat"
    answer_prefix = "chatcmpl-"

    def __init__(self, url: str) -> None:
        super().__init__()
        self.sdk = AsyncOpenAI(
            base_url=f"{url}/v1", api_key=KEY, max_retries=0, http_client=self.http
        )

    async def send(self, model: str, question: Question, stream: bool, on_text: OnText) -> Reply:
        """See Client.send."""
        call: dict[str, Any] = {"model": model, **_arguments(question)}
        heard: list[str] = []

        def hear(text: str) -> None:
            heard.append(text)
            on_text(text)

        try:
            if stream:
                return await self._streamed(call, hear)
            completion = await self.sdk.chat.completions.create(**call)
        except sdk.APIError as error:
            raise failure(error, "".join(heard)) from error
        return _reply(completion)

    async def _streamed(self, call: dict[str, Any], hear: OnText) -> Reply:
        call["stream_options"] = {"include_usage": True}
        async with self.sdk.chat.completions.stream(**call) as stream:
            async for event in stream:
                if event.type == "content.delta":
                    hear(event.delta)
            # get_final_completion would raise at an end by length or by a filter.
            return _reply(stream.current_completion_snapshot)


def failure(error: sdk.APIError, heard: str = "") -> Failed:
    """What OpenAI's SDK raises, in either of its protocols."""
    if isinstance(error, sdk.APIStatusError):
        return Failed(error.message, status=error.status_code, kind=error.type, code=error.code)
    return Failed(error.message, status=None, kind=error.type, code=error.code, heard=heard)


# -- the question -----------------------------------------------------------------------------


def _arguments(question: Question) -> dict[str, Any]:
    for name in ("top_k", "budget", "show_thinking"):
        if getattr(question, name) is not None:
            raise Unsayable(name)
    tokens = question.top_logprobs
    return said(
        messages=[message for turn in _turns(question) for message in _messages(turn)],
        tools=[_tool(tool) for tool in question.tools] or None,
        tool_choice=_choice(question),
        parallel_tool_calls=question.parallel,
        max_completion_tokens=question.max_tokens,
        temperature=question.temperature,
        top_p=question.top_p,
        stop=list(question.stop) or None,
        presence_penalty=question.presence_penalty,
        frequency_penalty=question.frequency_penalty,
        seed=question.seed,
        n=question.n,
        logprobs=True if tokens is not None else None,
        top_logprobs=tokens,
        reasoning_effort=question.effort,
        response_format=_format(question),
        verbosity=question.verbosity,
        safety_identifier=question.user,
        service_tier=question.service_tier,
        metadata=question.metadata,
        extra_body=dict(question.own) or None,
    )


def _turns(question: Question) -> Iterator[Turn]:
    if question.system:
        yield SystemNote(question.system)
    yield from question.turns


def _messages(turn: Turn) -> Iterator[dict[str, Any]]:
    match turn:
        case SystemNote(text=text):
            yield {"role": "system", "content": text}
        case User(parts=(str(text),)):
            yield {"role": "user", "content": text}
        case User(parts=parts):
            yield {"role": "user", "content": [_part(part) for part in parts]}
        case Said(text=text):
            yield {"role": "assistant", "content": text}
        case SaidCalls(calls=calls):
            yield {"role": "assistant", "content": None, "tool_calls": [*map(_call, calls)]}
        case Replayed(native=message):
            yield message
        case Results():
            yield from map(_result, turn.results)
            if turn.remark:
                yield {"role": "user", "content": turn.remark}


def _result(result: Result) -> dict[str, Any]:
    if result.is_error or result.media:
        raise Unsayable("a tool result that is not text")
    return {"role": "tool", "tool_call_id": result.call.id, "content": result.text}


def _call(call: Called) -> dict[str, Any]:
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _part(part: Part) -> dict[str, Any]:
    match part:
        case str():
            return {"type": "text", "text": part}
        case Image(url=url) if url:
            detail = said(detail=part.detail or None)
            return {"type": "image_url", "image_url": {"url": url, **detail}}
        case Image():
            url = f"data:{part.media_type};base64,{part.data}"
            return {"type": "image_url", "image_url": {"url": url}}
        case Sound(data=data):
            return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
        case Pdf(data=data) if data:
            url = f"data:application/pdf;base64,{data}"
            return {"type": "file", "file": {"filename": "letter.pdf", "file_data": url}}
        case Pdf() | PlainDocument():
            raise Unsayable(type(part).__name__)


def _tool(tool: Tool) -> dict[str, Any]:
    about = {"name": tool.name, "description": tool.description}
    if tool.custom:
        return {"type": "custom", "custom": about}
    shape = said(parameters=tool.schema, strict=tool.strict)
    return {"type": "function", "function": {**about, **shape}}


def _choice(question: Question) -> Any:
    if question.choice is None:
        return None
    mode, _, names = question.choice.partition(":")
    if not names:
        return mode
    tools = [{"type": "function", "function": {"name": name}} for name in names.split(",")]
    if mode == "required" and len(tools) == 1:
        return tools[0]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def _format(question: Question) -> Any:
    match question.output:
        case "object":
            return {"type": "json_object"}
        case Schema() as form:
            named = {"name": form.name, "schema": form.schema, **said(strict=form.strict)}
            return {"type": "json_schema", "json_schema": named}
        case None:
            return None


# -- the reply --------------------------------------------------------------------------------


def _reply(completion: Any) -> Reply:
    first = completion.choices[0]
    message = first.message
    tokens = first.logprobs.content or [] if first.logprobs else []
    return Reply(
        text=message.content or "",
        thinking=getattr(message, "reasoning_content", None) or "",
        refusal=message.refusal or "",
        calls=[_called(call) for call in message.tool_calls or ()],
        finish=FINISH.get(first.finish_reason),
        raw_finish=first.finish_reason,
        counted=_counted(completion.usage),
        model=completion.model,
        id=completion.id,
        texts=[choice.message.content or "" for choice in completion.choices],
        logprobs=[(one.token, one.logprob) for one in tokens],
        cited=_cited(message),
        turn=without_sdks_own(message.to_dict()),
    )


def _cited(message: Any) -> list[tuple[str, str]]:
    """In a stream the SDK's helper has them as they came."""
    notes = [one if isinstance(one, dict) else one.to_dict() for one in message.annotations or ()]
    return [(one["url_citation"]["url"], one["url_citation"]["title"]) for one in notes]


def without_sdks_own(value: Any) -> Any:
    """What an SDK gave out, without what its helper added; and without what is not set."""
    if isinstance(value, list):
        return [without_sdks_own(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: without_sdks_own(inner)
        for name, inner in value.items()
        if name not in _SDKS_OWN and not (inner is None and name != "content")
        if not (name in ("tool_calls", "annotations") and not inner)
    }


def _called(call: Any) -> Called:
    if call.type == "custom":
        # In a stream it is not yet in the SDK's types.
        about = call.custom if isinstance(call.custom, dict) else call.custom.to_dict()
        return Called(call.id, about["name"], about["input"])
    return Called(call.id, call.function.name, parsed(call.function.arguments))


def parsed(arguments: str) -> Any:
    """The arguments of a call; None if they are not JSON."""
    try:
        return json.loads(arguments)
    except ValueError:
        return None


def _counted(usage: Any) -> Counted | None:
    if usage is None:
        return None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Counted(
        usage.prompt_tokens,
        prompt.cached_tokens if prompt else None,
        getattr(prompt, "cache_write_tokens", None),
        usage.completion_tokens,
        completion.reasoning_tokens if completion else None,
    )

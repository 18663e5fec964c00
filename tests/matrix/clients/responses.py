"""OpenAI's SDK, Responses."""

import json
from collections.abc import Iterator
from typing import Any

import openai as sdk
from openai import AsyncOpenAI

from tests.matrix.clients.base import KEY, Client, said
from tests.matrix.clients.chat import failure, parsed, without_sdks_own
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

_UNSAYABLE = ("top_k", "presence_penalty", "frequency_penalty", "seed", "n", "budget")


class ResponsesClient(Client):
    """`client.responses`, and its helper that collects a stream."""

    name = "responses"
    answer_prefix = "resp_"

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
                return await self._streamed(call, hear, heard)
            response = await self.sdk.responses.create(**call)
        except sdk.APIError as error:
            raise failure(error, "".join(heard)) from error
        return _reply(response)

    async def _streamed(self, call: dict[str, Any], hear: OnText, heard: list[str]) -> Reply:
        final: Any = None
        numbers = []
        async with self.sdk.responses.stream(**call) as stream:
            async for event in stream:
                numbers.append(event.sequence_number)
                if event.type == "response.output_text.delta":
                    hear(event.delta)
                elif event.type in ("response.completed", "response.incomplete"):
                    final = event.response
                elif event.type == "response.failed":
                    raise _told(event.response.error, heard)
                elif event.type == "error":
                    raise _told(event, heard)
        assert numbers == list(range(len(numbers)))
        assert final is not None, "the stream ended without a terminal event"
        return _reply(final)


def _told(error: Any, heard: list[str]) -> Failed:
    """A failure that the SDK passes on as an event."""
    words = "".join(heard)
    return Failed(error.message, status=None, kind=error.code, code=error.code, heard=words)


# -- the question -----------------------------------------------------------------------------


def _arguments(question: Question) -> dict[str, Any]:
    for name in _UNSAYABLE:
        if getattr(question, name) is not None:
            raise Unsayable(name)
    if question.stop:
        raise Unsayable("stop")
    reasoning = said(effort=question.effort, summary="auto" if question.show_thinking else None)
    include = ["reasoning.encrypted_content"] if reasoning else []
    if question.top_logprobs is not None:
        include.append("message.output_text.logprobs")
    text = said(format=_format(question), verbosity=question.verbosity)
    return said(
        input=[item for turn in question.turns for item in _items(turn)],
        instructions=question.system or None,
        store=False,
        include=include or None,
        tools=[_tool(tool) for tool in question.tools] or None,
        tool_choice=_choice(question),
        parallel_tool_calls=question.parallel,
        max_output_tokens=question.max_tokens,
        temperature=question.temperature,
        top_p=question.top_p,
        top_logprobs=question.top_logprobs,
        reasoning=reasoning or None,
        text=text or None,
        safety_identifier=question.user,
        service_tier=question.service_tier,
        metadata=question.metadata,
        extra_body=dict(question.own) or None,
    )


def _items(turn: Turn) -> Iterator[dict[str, Any]]:
    match turn:
        case SystemNote(text=text):
            yield {"role": "developer", "content": text}
        case User(parts=(str(text),)):
            yield {"role": "user", "content": text}
        case User(parts=parts):
            yield {"role": "user", "content": [_part(part) for part in parts]}
        case Said(text=text):
            yield {"role": "assistant", "content": text}
        case SaidCalls(calls=calls):
            yield from map(_call, calls)
        case Replayed(native=items):
            yield from items
        case Results():
            yield from (_result(result) for result in turn.results)
            if turn.remark:
                yield {"role": "user", "content": turn.remark}


def _call(call: Called) -> dict[str, Any]:
    arguments = json.dumps(call.arguments)
    about = {"call_id": call.id, "name": call.name, "arguments": arguments}
    return {"type": "function_call", **about}


def _result(result: Result) -> dict[str, Any]:
    if result.is_error:
        raise Unsayable("a failed tool")
    kind = "custom_tool_call_output" if isinstance(result.call.arguments, str) else None
    output: Any = result.text
    if result.media:
        output = [_part(result.text), *(_part(part) for part in result.media)]
    return {"type": kind or "function_call_output", "call_id": result.call.id, "output": output}


def _part(part: Part) -> dict[str, Any]:
    match part:
        case str():
            return {"type": "input_text", "text": part}
        case Image():
            url = part.url or f"data:{part.media_type};base64,{part.data}"
            detail = part.detail or "auto"
            return {"type": "input_image", "image_url": url, "detail": detail}
        case Pdf(url=url) if url:
            return {"type": "input_file", "file_url": url}
        case Pdf(data=data):
            url = f"data:application/pdf;base64,{data}"
            return {"type": "input_file", "filename": "letter.pdf", "file_data": url}
        case Sound(data=data):
            return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
        case PlainDocument():
            raise Unsayable("a plain text document")


def _tool(tool: Tool) -> dict[str, Any]:
    about = {"name": tool.name, "description": tool.description}
    if tool.custom:
        return {"type": "custom", **about}
    shape = {"parameters": tool.schema or {"type": "object", "properties": {}}}
    return {"type": "function", **about, **shape, **said(strict=tool.strict)}


def _choice(question: Question) -> Any:
    if question.choice is None:
        return None
    mode, _, names = question.choice.partition(":")
    if not names:
        return mode
    tools = [{"type": "function", "name": name} for name in names.split(",")]
    if mode == "required" and len(tools) == 1:
        return tools[0]
    return {"type": "allowed_tools", "mode": mode, "tools": tools}


def _format(question: Question) -> Any:
    match question.output:
        case "object":
            return {"type": "json_object"}
        case Schema() as form:
            strict = said(strict=form.strict)
            return {"type": "json_schema", "name": form.name, "schema": form.schema, **strict}
        case None:
            return None


# -- the reply --------------------------------------------------------------------------------


def _reply(response: Any) -> Reply:
    reply = Reply(
        finish=_finish(response),
        raw_finish=response.status,
        counted=_counted(response.usage),
        model=response.model,
        id=response.id,
        turn=[without_sdks_own(item.to_dict()) for item in response.output],
    )
    for item in response.output:
        match item.type:
            case "message":
                _read_message(item, reply)
            case "reasoning":
                reply.thinking += "".join(part.text for part in item.summary)
                reply.thinking += "".join(part.text for part in item.content or ())
            case "function_call":
                reply.calls.append(Called(item.call_id, item.name, parsed(item.arguments)))
            case "custom_tool_call":
                reply.calls.append(Called(item.call_id, item.name, item.input))
            case _:
                pass
    reply.texts = [reply.text]
    return reply


def _read_message(item: Any, reply: Reply) -> None:
    for part in item.content:
        if part.type == "refusal":
            reply.refusal += part.refusal
            continue
        reply.text += part.text
        notes = [one for one in part.annotations if one.type == "url_citation"]
        reply.cited += [(one.url, one.title) for one in notes]
        reply.logprobs += [(one.token, one.logprob) for one in part.logprobs or ()]


def _finish(response: Any) -> Finish:
    if response.status == "incomplete":
        reason = response.incomplete_details.reason
        return "length" if reason == "max_output_tokens" else "filtered"
    assert response.status == "completed"
    calls = any(item.type in ("function_call", "custom_tool_call") for item in response.output)
    return "tool_calls" if calls else "stop"


def _counted(usage: Any) -> Counted | None:
    if usage is None:
        return None
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    return Counted(
        usage.input_tokens,
        usage.input_tokens_details.cached_tokens,
        getattr(usage.input_tokens_details, "cache_write_tokens", None),
        usage.output_tokens,
        usage.output_tokens_details.reasoning_tokens,
    )

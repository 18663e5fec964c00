"""Anthropic's SDK, Messages."""

from typing import Any, Final

import anthropic as sdk
import httpx2
from anthropic import AsyncAnthropic

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
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "filtered",
}
_UNSAYABLE: Final = (
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "n",
    "top_logprobs",
    "verbosity",
    "metadata",
)
# The parameter is required. More would make the SDK ask for a stream.
_MAX_TOKENS: Final = 4096


class AnthropicClient(Client):
    """`client.messages`, and its helper that collects a stream."""

    name = "anthropic"
    answer_prefix = "msg_"

    def __init__(self, url: str) -> None:
        super().__init__()
        self.sdk = AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0, http_client=self.http)

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
            message = await self.sdk.messages.create(**call)
        except sdk.APIStatusError as error:
            status = None if error.status_code == 200 else error.status_code
            body: Any = error.body
            raise Failed(
                body["error"]["message"], status=status, kind=error.type, heard="".join(heard)
            ) from error
        except (sdk.APIConnectionError, httpx2.RemoteProtocolError) as error:
            raise Failed(str(error), status=None, kind=None, heard="".join(heard)) from error
        return _reply(message)

    async def _streamed(self, call: dict[str, Any], hear: OnText) -> Reply:
        async with self.sdk.messages.stream(**call) as stream:
            async for event in stream:
                if event.type == "text":
                    hear(event.text)
            final = await stream.get_final_message()
        assert final.stop_reason is not None, "the stream ended without message_stop"
        return _reply(final)


# -- the question -----------------------------------------------------------------------------


def _arguments(question: Question) -> dict[str, Any]:
    for name in _UNSAYABLE:
        if getattr(question, name) is not None:
            raise Unsayable(name)
    if (question.temperature or 0) > 1:
        raise Unsayable("a temperature above 1")
    # Not in the SDK any more, and still on the wire.
    sampling = said(temperature=question.temperature, top_p=question.top_p, top_k=question.top_k)
    output = said(effort=question.effort, format=_format(question))
    return said(
        max_tokens=question.max_tokens or _MAX_TOKENS,
        messages=[_message(turn) for turn in question.turns],
        system=question.system or None,
        tools=[_tool(tool) for tool in question.tools] or None,
        tool_choice=_choice(question),
        stop_sequences=list(question.stop) or None,
        thinking=_thinking(question),
        output_config=output or None,
        metadata={"user_id": question.user} if question.user else None,
        service_tier=question.service_tier,
        extra_body={**sampling, **question.own} or None,
    )


def _thinking(question: Question) -> dict[str, Any] | None:
    display = None
    if question.show_thinking is not None:
        display = "summarized" if question.show_thinking else "omitted"
    shown = said(display=display)
    if question.budget is not None:
        return {"type": "enabled", "budget_tokens": question.budget, **shown}
    return {"type": "adaptive", **shown} if question.effort or shown else None


def _message(turn: Turn) -> dict[str, Any]:
    match turn:
        case SystemNote():
            raise Unsayable("a system turn")
        case User(parts=(str(text),)):
            return {"role": "user", "content": text}
        case User(parts=parts):
            return {"role": "user", "content": [_part(part) for part in parts]}
        case Said(text=text):
            return {"role": "assistant", "content": text}
        case SaidCalls(calls=calls):
            return {"role": "assistant", "content": [*map(_call, calls)]}
        case Replayed(native=blocks):
            return {"role": "assistant", "content": blocks}
        case Results():
            blocks = [_result(result) for result in turn.results]
            remark = [_part(turn.remark)] if turn.remark else []
            return {"role": "user", "content": [*blocks, *remark]}


def _call(call: Called) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}


def _result(result: Result) -> dict[str, Any]:
    content: Any = result.text
    if result.media:
        content = [_part(result.text), *(_part(part) for part in result.media)]
    block = {"type": "tool_result", "tool_use_id": result.call.id, "content": content}
    return {**block, "is_error": True} if result.is_error else block


def _part(part: Part) -> dict[str, Any]:
    match part:
        case str():
            return {"type": "text", "text": part}
        case Image(detail=detail) if detail:
            raise Unsayable("the detail of an image")
        case Image(url=url) if url:
            return {"type": "image", "source": {"type": "url", "url": url}}
        case Image():
            source = {"type": "base64", "media_type": part.media_type, "data": part.data}
            return {"type": "image", "source": source}
        case Pdf(url=url) if url:
            return {"type": "document", "source": {"type": "url", "url": url}}
        case Pdf(data=data):
            source = {"type": "base64", "media_type": "application/pdf", "data": data}
            return {"type": "document", "source": source, "title": "letter.pdf"}
        case PlainDocument(text=text):
            source = {"type": "text", "media_type": "text/plain", "data": text}
            return {"type": "document", "source": source}
        case Sound():
            raise Unsayable("a sound")


def _tool(tool: Tool) -> dict[str, Any]:
    if tool.custom:
        raise Unsayable("a free-text tool")
    schema = tool.schema or {"type": "object", "properties": {}}
    named = {"name": tool.name, "description": tool.description, "input_schema": schema}
    return {**named, **said(strict=tool.strict)}


def _choice(question: Question) -> Any:
    alone = {"disable_parallel_tool_use": not question.parallel}
    extra = alone if question.parallel is not None else {}
    if question.choice is None:
        return {"type": "auto", **extra} if extra else None
    mode, _, names = question.choice.partition(":")
    if names and (mode == "auto" or "," in names):
        raise Unsayable("a choice of several tools")
    if names:
        return {"type": "tool", "name": names, **extra}
    return {"type": {"required": "any"}.get(mode, mode), **(extra if mode != "none" else {})}


def _format(question: Question) -> Any:
    match question.output:
        case "object":
            raise Unsayable("any JSON object")
        case Schema(strict=None, schema=schema):
            return {"type": "json_schema", "schema": schema}
        case Schema():
            raise Unsayable("a strict schema: every schema is")
        case None:
            return None


# -- the reply --------------------------------------------------------------------------------


def _reply(message: Any) -> Reply:
    reply = Reply(
        finish=FINISH.get(message.stop_reason),
        raw_finish=message.stop_reason,
        sequence=message.stop_sequence,
        counted=_counted(message.usage),
        model=message.model,
        id=message.id,
        turn=[_without_none(block.to_dict()) for block in message.content],
    )
    for block in message.content:
        match block.type:
            case "text":
                reply.text += block.text
                reply.cited += [(one.url, one.title) for one in block.citations or ()]
            case "thinking":
                reply.thinking += block.thinking
            case "tool_use":
                reply.calls.append(Called(block.id, block.name, block.input))
            case _:
                pass
    if message.stop_details is not None and message.stop_reason == "refusal":
        reply.refusal = message.stop_details.explanation or ""
    reply.texts = [reply.text]
    return reply


def _without_none(block: dict[str, Any]) -> dict[str, Any]:
    """A block without what the SDK's helper adds to it."""
    return {name: value for name, value in block.items() if value is not None}


def _counted(usage: Any) -> Counted:
    read, write = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    details = usage.output_tokens_details
    return Counted(
        usage.input_tokens + read + write,
        usage.cache_read_input_tokens,
        usage.cache_creation_input_tokens,
        usage.output_tokens,
        details.thinking_tokens if details else None,
    )

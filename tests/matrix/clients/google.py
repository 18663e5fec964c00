"""Google's SDK, generateContent."""

import base64
from typing import Any, Final

import httpx2
from google import genai
from google.genai import errors, types

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
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "filtered",
}
_UNSAYABLE: Final = ("parallel", "verbosity", "user", "metadata")
_MODES: Final = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


class GoogleClient(Client):
    """`client.aio.models`. There is no helper: a user puts the parts of a stream together."""

    name = "google"
    answer_prefix = ""

    def __init__(self, url: str) -> None:
        super().__init__()
        options = types.HttpOptions(base_url=url, httpx_async_client=self.http)
        self._sync = genai.Client(api_key=KEY, http_options=options)
        self.sdk = self._sync.aio

    async def close(self) -> None:
        """See Client.close."""
        await super().close()
        await self.sdk.aclose()
        self._sync.close()

    async def send(self, model: str, question: Question, stream: bool, on_text: OnText) -> Reply:
        """See Client.send."""
        call: dict[str, Any] = {"model": model, **_arguments(question)}
        answers: list[types.GenerateContentResponse] = []
        try:
            if stream:
                async for answer in await self.sdk.models.generate_content_stream(**call):
                    answers.append(answer)
                    if text := _text(answer):
                        on_text(text)
            else:
                answers.append(await self.sdk.models.generate_content(**call))
        except errors.APIError as error:
            begun = bool(answers)
            raise Failed(
                error.message or "",
                status=None if begun else error.code,
                kind=error.status,
                heard="".join(map(_text, answers)),
                details=error.details,
            ) from error
        except httpx2.RemoteProtocolError as error:
            heard = "".join(map(_text, answers))
            raise Failed(str(error), status=None, kind=None, heard=heard) from error
        return _reply(answers)


def _parts(answer: types.GenerateContentResponse, index: int = 0) -> list[types.Part]:
    found = [one for one in answer.candidates or () if (one.index or 0) == index]
    return [part for one in found if one.content for part in one.content.parts or ()]


def _text(answer: types.GenerateContentResponse) -> str:
    return "".join(part.text or "" for part in _parts(answer) if not part.thought)


# -- the question -----------------------------------------------------------------------------


def _arguments(question: Question) -> dict[str, Any]:
    for name in _UNSAYABLE:
        if getattr(question, name) is not None:
            raise Unsayable(name)
    output = question.output
    if isinstance(output, Schema) and output.strict is not None:
        raise Unsayable("a strict schema")
    config = types.GenerateContentConfig(
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        system_instruction=question.system or None,
        tools=_tools(question),
        tool_config=_tool_config(question),
        max_output_tokens=question.max_tokens,
        temperature=question.temperature,
        top_p=question.top_p,
        top_k=question.top_k,
        stop_sequences=list(question.stop) or None,
        presence_penalty=question.presence_penalty,
        frequency_penalty=question.frequency_penalty,
        seed=question.seed,
        candidate_count=question.n,
        response_logprobs=True if question.top_logprobs is not None else None,
        logprobs=question.top_logprobs,
        thinking_config=_thinking(question),
        response_mime_type="application/json" if output else None,
        response_json_schema=output.schema if isinstance(output, Schema) else None,
        service_tier=types.ServiceTier(question.service_tier) if question.service_tier else None,
        http_options=types.HttpOptions(extra_body=dict(question.own)) if question.own else None,
    )
    return {"contents": [_content(turn) for turn in question.turns], "config": config}


def _thinking(question: Question) -> types.ThinkingConfig | None:
    level = types.ThinkingLevel(question.effort.upper()) if question.effort else None
    config = said(
        include_thoughts=question.show_thinking,
        thinking_budget=question.budget,
        thinking_level=level,
    )
    return types.ThinkingConfig(**config) if config else None


def _content(turn: Turn) -> types.Content:
    match turn:
        case SystemNote():
            raise Unsayable("a system turn")
        case User(parts=parts):
            return types.Content(role="user", parts=[_part(part) for part in parts])
        case Said(text=text):
            return types.Content(role="model", parts=[types.Part(text=text)])
        case SaidCalls(calls=calls):
            return types.Content(role="model", parts=[*map(_call, calls)])
        case Replayed(native=parts):
            return types.Content(role="model", parts=parts)
        case Results():
            remark = [_part(turn.remark)] if turn.remark else []
            answers = [_result(result) for result in turn.results]
            return types.Content(role="user", parts=[*answers, *remark])


def _call(call: Called) -> types.Part:
    return types.Part(
        function_call=types.FunctionCall(id=call.id, name=call.name, args=call.arguments)
    )


def _result(result: Result) -> types.Part:
    key = "error" if result.is_error else "output"
    response = types.FunctionResponse(
        id=result.call.id,
        name=result.call.name,
        response={key: result.text},
        parts=[_response_part(media) for media in result.media] or None,
    )
    return types.Part(function_response=response)


def _response_part(media: Image | Pdf) -> types.FunctionResponsePart:
    media_type = media.media_type if isinstance(media, Image) else "application/pdf"
    blob = types.FunctionResponseBlob(mime_type=media_type, data=base64.b64decode(media.data))
    return types.FunctionResponsePart(inline_data=blob)


def _part(part: Part) -> types.Part:
    match part:
        case str():
            return types.Part(text=part)
        case Image(detail=detail) if detail:
            raise Unsayable("the detail of an image")
        case Image(url=url) if url:
            return types.Part.from_uri(file_uri=url, mime_type=part.media_type)
        case Image():
            data = base64.b64decode(part.data)
            return types.Part.from_bytes(data=data, mime_type=part.media_type)
        case Pdf(url=url) if url:
            return types.Part.from_uri(file_uri=url, mime_type="application/pdf")
        case Pdf(data=encoded):
            data = base64.b64decode(encoded)
            return types.Part.from_bytes(data=data, mime_type="application/pdf")
        case Sound(data=encoded):
            return types.Part.from_bytes(data=base64.b64decode(encoded), mime_type="audio/wav")
        case PlainDocument(text=text):
            return types.Part.from_bytes(data=text.encode(), mime_type="text/plain")


def _tools(question: Question) -> Any:
    if not question.tools:
        return None
    return [types.Tool(function_declarations=[_declaration(tool) for tool in question.tools])]


def _declaration(tool: Tool) -> types.FunctionDeclaration:
    if tool.custom or tool.strict is not None:
        raise Unsayable("a free-text or a strict tool")
    return types.FunctionDeclaration(
        name=tool.name, description=tool.description, parameters_json_schema=tool.schema
    )


def _tool_config(question: Question) -> types.ToolConfig | None:
    if question.choice is None:
        return None
    mode, _, names = question.choice.partition(":")
    if names and mode == "auto":
        raise Unsayable("tools that may be called, out of several")
    calling = types.FunctionCallingConfig(
        mode=types.FunctionCallingConfigMode(_MODES[mode]),
        allowed_function_names=names.split(",") if names else None,
    )
    return types.ToolConfig(function_calling_config=calling)


# -- the reply --------------------------------------------------------------------------------


def _reply(answers: list[types.GenerateContentResponse]) -> Reply:
    last = answers[-1]
    parts = [part for answer in answers for part in _parts(answer)]
    calls = [call for part in parts if (call := part.function_call) is not None]
    counts = sorted({one.index or 0 for answer in answers for one in answer.candidates or ()})
    reply = Reply(
        text="".join(map(_text, answers)),
        thinking="".join(part.text or "" for part in parts if part.thought),
        calls=[Called(call.id, call.name or "", call.args or {}) for call in calls],
        counted=_counted(last.usage_metadata),
        model=last.model_version or "",
        id=last.response_id or "",
        texts=[
            "".join(part.text or "" for answer in answers for part in _parts(answer, index))
            for index in counts
        ],
        turn=[part for part in parts if part.text != "" or part.thought_signature],
    )
    _read_end(answers, reply)
    return reply


def _read_end(answers: list[types.GenerateContentResponse], reply: Reply) -> None:
    """The finish reason, which a blocked prompt has elsewhere, and what each token weighs."""
    for answer in answers:
        for one in answer.candidates or ():
            if one.finish_reason is not None:
                reply.raw_finish = one.finish_reason.value
            grounding = one.grounding_metadata
            for chunk in grounding.grounding_chunks or () if grounding else ():
                if chunk.web is not None:
                    reply.cited.append((chunk.web.uri or "", chunk.web.title or ""))
            if one.logprobs_result is not None and not one.index:
                chosen = one.logprobs_result.chosen_candidates or ()
                reply.logprobs += [(c.token or "", c.log_probability or 0) for c in chosen]
    reply.finish = FINISH.get(reply.raw_finish)
    if reply.calls and reply.finish == "stop":
        reply.finish = "tool_calls"
    feedback = answers[-1].prompt_feedback
    if feedback is not None and feedback.block_reason is not None:
        reply.finish, reply.raw_finish = "filtered", feedback.block_reason.value


def _counted(usage: types.GenerateContentResponseUsageMetadata | None) -> Counted | None:
    if usage is None:
        return None
    thoughts = usage.thoughts_token_count or 0
    output = (usage.candidates_token_count or 0) + thoughts
    assert usage.total_token_count == (usage.prompt_token_count or 0) + output
    return Counted(
        usage.prompt_token_count,
        usage.cached_content_token_count,
        None,
        output,
        usage.thoughts_token_count,
    )

"""Reading the messages of a request to Chat Completions.

Source: protocols.md, 1.1 ("Rules of the API"), 4 (G46, G48).
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import UNSET

from tests.support.strict.body import check_base64, given
from tests.support.strict.chat import shapes
from tests.support.strict.refused import Refused
from tests.support.strict.seen import (
    Seen,
    SeenBlock,
    SeenCall,
    SeenMedia,
    SeenResult,
    SeenThought,
    SeenTurn,
)


def read_messages(wire: shapes.Request, seen: Seen, thoughts: dict[int, str]) -> None:
    """Read the messages in their order. `thoughts` are those of the assistant's, by place."""
    open_calls: list[str] = []
    for place, message in enumerate(wire.messages):
        where = f"messages[{place}]"
        if isinstance(message, shapes.ToolMessage | shapes.FunctionMessage):
            _read_result(message, where, seen, open_calls)
            continue
        if open_calls:
            raise Refused(
                "An assistant message with 'tool_calls' must be followed by tool messages"
                " responding to each 'tool_call_id'. The following tool_call_ids did not have"
                f" response messages: {', '.join(open_calls)}",
                param=where,
            )
        match message:
            case shapes.AssistantMessage():
                turn = _assistant(message, where)
                if place in thoughts:
                    turn.blocks.insert(0, SeenThought(thoughts[place]))
                seen.turns.append(turn)
                open_calls = [call.id for call in turn.calls if call.id is not None]
                if len(set(open_calls)) != len(open_calls):
                    raise Refused(f"{where}: duplicate tool call ids", param=where)
            case shapes.UserMessage():
                seen.turns.append(SeenTurn("user", list(_user(message, where))))
                _note_marks(message.content, seen.cache_marks)
            case _:
                _read_system(message, seen)
    if open_calls:
        raise Refused(f"tool_call_ids did not have response messages: {', '.join(open_calls)}")


def _read_system(message: shapes.SystemMessage | shapes.DeveloperMessage, seen: Seen) -> None:
    if seen.turns:
        seen.turns.append(SeenTurn("system", [all_text(message)]))
    else:
        seen.system.append(all_text(message))
    _note_marks(message.content, seen.cache_marks)


def _read_result(
    message: shapes.ToolMessage | shapes.FunctionMessage,
    where: str,
    seen: Seen,
    open_calls: list[str],
) -> None:
    if isinstance(message, shapes.FunctionMessage):
        result = SeenResult(None, message.name, message.content or "")
    else:
        if message.tool_call_id not in open_calls:
            raise Refused(
                "messages with role 'tool' must be a response to a preceding message with"
                " 'tool_calls'.",
                param=where,
            )
        open_calls.remove(message.tool_call_id)
        result = SeenResult(message.tool_call_id, None, all_text(message))
    if not seen.turns or not seen.turns[-1].results:
        seen.turns.append(SeenTurn("user"))
    seen.turns[-1].blocks.append(result)


def _assistant(message: shapes.AssistantMessage, where: str) -> SeenTurn:
    content = None if message.content is UNSET else message.content
    calls, refusal = given(message.tool_calls), given(message.refusal)
    legacy = given(message.function_call)
    if content is None and not calls and legacy is None and refusal is None:
        raise Refused(
            f"Invalid value for 'content': expected a string, got null. ({where})",
            param=f"{where}.content",
        )
    blocks: list[SeenBlock] = []
    if isinstance(content, str):
        blocks += [content] if content else []
    else:
        for part in content or []:
            blocks.append(part.text if isinstance(part, shapes.TextPart) else part.refusal)
    blocks += [refusal] if refusal else []
    for call in calls or ():
        blocks.append(_call(call, where))
    if legacy is not None:
        blocks.append(SeenCall(None, legacy.name, json.loads(legacy.arguments)))
    return SeenTurn("assistant", blocks)


def _call(call: shapes.FunctionCall | shapes.CustomCall, where: str) -> SeenCall:
    if isinstance(call, shapes.CustomCall):
        return SeenCall(call.id, call.custom.name, call.custom.input)
    try:
        arguments = json.loads(call.function.arguments)
    except ValueError as error:
        raise Refused(f"{where}: arguments of {call.id} are not JSON", param=where) from error
    return SeenCall(call.id, call.function.name, arguments)


def _user(message: shapes.UserMessage, where: str) -> Iterator[SeenBlock]:
    if isinstance(message.content, str):
        yield message.content
        return
    if not message.content:
        raise Refused(f"{where}.content: [] is too short", param=f"{where}.content")
    for number, part in enumerate(message.content):
        yield _part(part, f"{where}.content[{number}]")


def _part(
    part: shapes.TextPart | shapes.ImagePart | shapes.AudioPart | shapes.FilePart, where: str
) -> SeenBlock:
    match part:
        case shapes.TextPart(text=text):
            return text
        case shapes.ImagePart(image_url=image):
            return image_from_url(image.url, where)
        case shapes.AudioPart(input_audio=audio):
            check_base64(audio.data, where)
            return SeenMedia("audio", f"audio/{audio.format}", audio.data)
        case _:
            return _file(part.file, where)


def image_from_url(url: str, where: str) -> SeenMedia:
    """An image given by http or as a data URL. Raises Refused when it is neither."""
    if url.startswith(("http://", "https://")):
        return SeenMedia("image", url=url)
    head, comma, data = url.partition(",")
    media_type = head.removeprefix("data:").removesuffix(";base64")
    if not comma or media_type not in ("image/png", "image/jpeg", "image/gif", "image/webp"):
        raise Refused(f"Invalid image_url: {url[:40]}", param=where, code="invalid_image_url")
    check_base64(data, where)
    return SeenMedia("image", media_type, data)


def _file(file: shapes.FileFile, where: str) -> SeenMedia:
    data = given(file.file_data)
    if data is None:
        raise Refused(f"{where}: no file with this file_id", param=where)
    if given(file.filename) is None:
        raise Refused(f"Missing required parameter: '{where}.file.filename'", param=where)
    return document_from_data_url(data, where)


def document_from_data_url(url: str, where: str) -> SeenMedia:
    """A PDF as a data URL. Raises Refused when it is none."""
    data = url.removeprefix("data:application/pdf;base64,")
    if data == url:
        raise Refused(f"{where}: expected a base64-encoded data URL of a PDF", param=where)
    if not check_base64(data, where).startswith(b"%PDF-"):
        raise Refused(f"{where}: not a PDF", param=where)
    return SeenMedia("document", "application/pdf", data)


def _note_marks(parts: str | Sequence[Any], marks: list[str]) -> None:
    """Note what is marked to be cached up to: its text, or what else it is."""
    marked: Sequence[Any] = [] if isinstance(parts, str) else parts
    marks += [
        part.text if isinstance(part, shapes.TextPart) else "media"
        for part in marked
        if given(part.prompt_cache_breakpoint) is not None
    ]


def all_text(message: shapes.Message) -> str:
    """The texts of a message, joined."""
    content = given(message.content)
    if isinstance(content, str):
        return content
    return "".join(part.text for part in content or () if isinstance(part, shapes.TextPart))

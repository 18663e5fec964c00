"""The conversation in a Gemini client's request (protocols.md, 1.4 and 2.3).

A client that keeps the elements of a stream sends each as a turn of its own, a thought and its
signature in two. So what the model said in a row is one turn here, and its pieces are put together.
"""

from typing import Final

import msgspec

from bitrouter import ir
from bitrouter.errors import InvalidRequest
from bitrouter.protocols import media
from bitrouter.protocols.base import decode_body
from bitrouter.protocols.continuity import holds_redacted
from bitrouter.protocols.google.said import Said
from bitrouter.protocols.google.signatures import ORIGIN, read_signature
from bitrouter.protocols.google.types import (
    Blob,
    ClientContent,
    ClientPart,
    FileData,
    FunctionCall,
    FunctionResponse,
    Part,
)
from bitrouter.protocols.google.values import read_arguments, read_response
from bitrouter.protocols.history import hashed
from bitrouter.protocols.readlarge import Outsize, is_outsize_list

_MODEL: Final = "model"
_USER: Final = frozenset({"user", "function", "tool"})
# Files that are Google's own to read.
_OWN_FILES: Final = ("https://generativelanguage.googleapis.com/", "gs://", "files/")
_VIDEOS: Final = ("https://www.youtube.com/", "https://youtube.com/", "https://youtu.be/")

_contents: Final = msgspec.json.Decoder(list[ClientContent] | ClientContent)
_outsize: Final = Outsize(ClientContent, {"parts": Outsize(ClientPart)})
_system: Final = msgspec.json.Decoder(ClientContent | str)


def decode_contents(raw: msgspec.Raw | None, dropped: list[str]) -> list[ir.Message]:
    """The turns. Raises InvalidRequest, naming the place."""
    if raw is None:
        raise InvalidRequest("contents is required: an array")
    contents = _read(raw)
    conversation = _Conversation(dropped)
    for place, content in enumerate(contents):
        conversation.add(content, place)
    conversation.end_model_turn()
    if not conversation.messages:
        raise InvalidRequest("contents must not be empty")
    return conversation.messages


def _read(raw: msgspec.Raw) -> list[ClientContent]:
    if is_outsize_list(raw):
        return _outsize.decode_list(raw, "contents")
    found = decode_body(_contents, raw, "contents")
    return found if isinstance(found, list) else [found]


def decode_system(raw: msgspec.Raw | None, dropped: list[str]) -> list[ir.Text]:
    """The texts of `systemInstruction`, whose role means nothing."""
    if raw is None:
        return []
    content = decode_body(_system, raw, "systemInstruction")
    if isinstance(content, str):
        return [ir.Text(content)] if content else []
    texts = []
    for place, part in enumerate(content.parts or ()):
        if part.text is None:
            raise InvalidRequest(f"systemInstruction.parts[{place}] must have a text")
        if part.text:
            texts.append(ir.Text(part.text))
    return texts


class _Conversation:
    """The turns so far, and which calls of the newest one are still to be answered."""

    def __init__(self, dropped: list[str]) -> None:
        self.messages: list[ir.Message] = []
        self._dropped = dropped
        self._model: Said | None = None
        self._unanswered: list[ir.ToolCall] = []

    def add(self, content: ClientContent, place: int) -> None:
        role = content.role or "user"
        if role == _MODEL:
            self._add_said(content.parts or [], place)
        elif role in _USER:
            self._add_asked(content.parts or [], place)
        else:
            raise InvalidRequest(f"contents[{place}].role is unknown: {role!r:.40} (user, model)")

    def _add_said(self, parts: list[ClientPart], place: int) -> None:
        if self._model is None:
            self._model = Said()
            self._unanswered = []
            self.messages.append(ir.Message("assistant", self._model.blocks))
        for number, part in enumerate(parts):
            if part.text is not None and part.thought_signature is None:
                self._model.add_text(part.text, thought=bool(part.thought), signature=None)
                continue
            self._announce(part)
            at = f"contents[{place}].parts[{number}]"
            signature = read_signature(part.thought_signature, f"{at}.thoughtSignature")
            if signature is not None and holds_redacted(part.thought_signature or ""):
                self._model.add(ir.Reasoning("", signature, redacted=True))
            elif part.text is not None:
                self._model.add_text(part.text, thought=bool(part.thought), signature=signature)
            elif part.function_call is not None:
                call = _call(part.function_call, f"{place}.{number}", at)
                call.signature = signature
                self._model.add(call)
                self._unanswered.append(call)
            elif (block := _spoken(part, at)) is not None:
                self._model.add(block)

    def end_model_turn(self) -> None:
        """The model has said all that it says in a row."""
        if self._model is not None:
            self._model.close()
            self._model = None

    def _add_asked(self, parts: list[ClientPart], place: int) -> None:
        self.end_model_turn()
        blocks: list[ir.Block] = []
        for number, part in enumerate(parts):
            if part.text is not None:
                if part.text:
                    blocks.append(ir.Text(part.text))
                continue
            self._announce(part)
            at = f"contents[{place}].parts[{number}]"
            if part.function_response is not None:
                blocks.append(self._result(part.function_response, f"{place}.{number}", at))
            elif part.function_call is not None:
                raise InvalidRequest(f"{at}.functionCall: only the role model makes calls")
            elif (block := _spoken(part, at)) is not None:
                blocks.append(block)
        self.messages.append(ir.Message("user", blocks))

    def _announce(self, part: ClientPart) -> None:
        if part.video_metadata or part.video_metadata_snake:
            self._dropped.append("videoMetadata")
        if part.media_resolution or part.media_resolution_snake:
            self._dropped.append("mediaResolution")
        name = _other_kind(part)
        if name is not None:
            self._dropped.append(name)

    def _result(self, response: FunctionResponse, key: str, where: str) -> ir.ToolResult:
        content, is_error = read_response(response.response, f"{where}.functionResponse.response")
        blocks: list[ir.Text | ir.Media] = [ir.Text(content)] if content else []
        for number, part in enumerate(response.parts or ()):
            found = _media(part, f"{where}.functionResponse.parts[{number}]")
            if found is not None:
                blocks.append(found)
        call = self._call_of(response)
        name = call.name if call else response.name
        call_id = call.id if call else response.id or _made_id(key, response.name or "")
        return ir.ToolResult(call_id, blocks, is_error, name)

    def _call_of(self, response: FunctionResponse) -> ir.ToolCall | None:
        """The call that a response answers: by its id, else the first of its name, else the first
        of all. It is answered then.
        """
        waiting = self._unanswered
        call = next((one for one in waiting if response.id and one.id == response.id), None)
        if call is None:
            call = next((one for one in waiting if one.name == response.name), None)
        if call is None and waiting:
            call = waiting[0]
        if call is not None:
            waiting.remove(call)
        return call


def _call(call: FunctionCall, key: str, where: str) -> ir.ToolCall:
    if not call.name:
        raise InvalidRequest(f"{where}.functionCall.name is required")
    arguments = read_arguments(call.args)
    if arguments is None:
        raise InvalidRequest(f"{where}.functionCall.args must be an object")
    return ir.ToolCall(call.id or _made_id(key, call.name), call.name, arguments)


def _made_id(key: str, name: str) -> str:
    """An id for a call that has none: the same every time, so that prompt caches keep hitting."""
    return f"call_{hashed(f'{key} {name}')}"


def _spoken(part: ClientPart, where: str) -> ir.Media | None:
    """What a part without text shows; None if that goes nowhere else."""
    found = _media(part, where)
    if found is None and _other_kind(part) is None:
        raise InvalidRequest(
            f"{where} must have one of text, inlineData, fileData, functionCall (of the model),"
            " functionResponse (of the user)"
        )
    return found


def _other_kind(part: ClientPart) -> str | None:
    """Google's name for a kind of part that only its own models make and take."""
    if part.executable_code is not None or part.executable_code_snake is not None:
        return "executableCode"
    if part.code_execution_result is not None or part.code_execution_result_snake is not None:
        return "codeExecutionResult"
    if part.tool_call is not None or part.tool_call_snake is not None:
        return "toolCall"
    if part.tool_response is not None or part.tool_response_snake is not None:
        return "toolResponse"
    return None


def _media(part: Part, where: str) -> ir.Media | None:
    if part.inline_data is not None:
        return _inline(part.inline_data, f"{where}.inlineData")
    if part.file_data is not None:
        return _file(part.file_data, f"{where}.fileData")
    return None


def _inline(blob: Blob, where: str) -> ir.Media:
    if not blob.data or not blob.mime_type:
        raise InvalidRequest(f"{where} must have data and mimeType")
    found = media.from_base64(blob.data, blob.mime_type, f"{where}.data")
    found.name = blob.display_name
    return found


def _file(file: FileData, where: str) -> ir.Media:
    uri = file.file_uri
    if not uri:
        raise InvalidRequest(f"{where}.fileUri is required")
    kind = media.plain_type(file.mime_type) if file.mime_type else media.type_by_name(uri, "")
    if uri.startswith(_OWN_FILES):
        return ir.Media(media.kind_of(kind), kind or None, file_id=uri, origin=ORIGIN)
    if uri.startswith(_VIDEOS):
        return ir.Media("video", kind or None, url=uri)
    found = media.from_url(uri, media.kind_of(kind), f"{where}.fileUri")
    found.media_type = found.media_type or kind or None
    return found

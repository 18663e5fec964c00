"""Reading a request to Messages as Anthropic does, and what it means."""

import base64
from collections.abc import Iterator
from typing import Any

from tests.support.strict.anthropic import rules, shapes
from tests.support.strict.anthropic.models import abilities
from tests.support.strict.body import UNKNOWN, check_base64, convert, given
from tests.support.strict.refused import Refused
from tests.support.strict.seen import (
    Seen,
    SeenBlock,
    SeenCall,
    SeenMedia,
    SeenResult,
    SeenThought,
    SeenTool,
    SeenTurn,
)
from tests.support.strict.signing import Signer


def read(body: dict[str, Any], signer: Signer) -> Seen:
    """What a request means. Raises Refused when it is not one."""
    wire = convert(body, shapes.Request, _describe)
    able = abilities(wire.model)
    if able is None:
        raise Refused(f"model: {wire.model}", kind="not_found")
    rules.check(wire, able)
    seen = Seen(wire.model, bool(given(wire.stream)))
    _read_system(wire, seen)
    _read_tools(wire, seen)
    for place, message in enumerate(wire.messages):
        role = "user" if isinstance(message, shapes.UserMessage) else "assistant"
        blocks = list(_content(message, f"messages.{place}", seen, signer))
        if seen.turns and seen.turns[-1].role == role:
            seen.turns[-1].blocks += blocks
        else:
            seen.turns.append(SeenTurn("user" if role == "user" else "assistant", blocks))
    _read_settings(wire, seen)
    return seen


def _describe(what: str, place: str) -> Refused:
    dotted = place.replace("[", ".").replace("]", "")
    if unknown := UNKNOWN.search(what):
        where = f"{dotted}.{unknown[1]}" if dotted else unknown[1]
        return Refused(f"{where}: Extra inputs are not permitted")
    if "missing required field" in what:
        where = what.rpartition("`")[0].rpartition("`")[2]
        return Refused(f"{f'{dotted}.' if dotted else ''}{where}: Field required")
    return Refused(f"{dotted}: {what}")


def _read_system(wire: shapes.Request, seen: Seen) -> None:
    system = given(wire.system)
    if isinstance(system, str):
        if not system.strip():
            raise Refused("system: text content blocks must be non-empty")
        seen.system.append(system)
    for text in system if isinstance(system, list) else ():
        if not text.text.strip():
            raise Refused("system: text content blocks must be non-empty")
        seen.system.append(text.text)
        _note_mark(text, text.text, seen)


def _note_mark(block: Any, name: str, seen: Seen) -> None:
    if given(block.cache_control) is not None:
        seen.cache_marks.append(name)


# -- tools ------------------------------------------------------------------------------------


def _read_tools(wire: shapes.Request, seen: Seen) -> None:
    for place, tool in enumerate(given(wire.tools) or ()):
        _read_tool(tool, f"tools.{place}", seen)
    choice = given(wire.tool_choice)
    if choice is None:
        return
    if not given(wire.tools):
        raise Refused("tool_choice may only be specified while providing tools.")
    match choice:
        case shapes.ChoiceTool(name=name):
            if name not in seen.tools:
                raise Refused(f"Tool '{name}' not found in provided tools")
            seen.choice = f"required:{name}"
        case shapes.ChoiceAny():
            seen.choice = "required"
        case shapes.ChoiceNone():
            seen.choice = "none"
        case _:
            seen.choice = "auto"
    if isinstance(choice, shapes.ChoiceAuto | shapes.ChoiceAny | shapes.ChoiceTool):
        alone = given(choice.disable_parallel_tool_use)
        seen.parallel = None if alone is None else not alone


def _read_tool(given_tool: dict[str, Any], where: str, seen: Seen) -> None:
    def describe(what: str, place: str) -> Refused:
        return _describe(what, f"{where}.{place}" if place else where)

    if given_tool.get("type") not in (None, "custom"):
        convert(given_tool, shapes.WebSearch, describe)
        seen.hosted_tools.append("web_search")
        return
    tool = convert(given_tool, shapes.Tool, describe)
    schema = tool.input_schema
    if schema.get("type") != "object":
        raise Refused(f"{where}.custom.input_schema.type: Field required")
    if not schema.keys().isdisjoint(("anyOf", "oneOf", "allOf")):
        raise Refused(
            f"{where}.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at"
            " the top level"
        )
    if tool.name in seen.tools:
        raise Refused("tools: Tool names must be unique.")
    seen.tools[tool.name] = SeenTool(tool.name, given(tool.description), schema, given(tool.strict))
    _note_mark(tool, tool.name, seen)


# -- messages ---------------------------------------------------------------------------------


def _content(
    message: shapes.UserMessage | shapes.AssistantMessage, where: str, seen: Seen, signer: Signer
) -> Iterator[SeenBlock]:
    if isinstance(message.content, str):
        yield message.content
        return
    for place, block in enumerate(message.content):
        yield _block(block, f"{where}.content.{place}", seen, signer)


def _block(block: Any, where: str, seen: Seen, signer: Signer) -> SeenBlock:
    match block:
        case shapes.ToolUse():
            return SeenCall(block.id, block.name, block.input)
        case shapes.ToolResult():
            return _result(block, where, seen)
        case shapes.Thinking():
            content = signer.content("thinking", block.signature)
            if content is None or block.thinking not in ("", content):
                raise Refused(f"{where}: Invalid `signature` in `thinking` block")
            return SeenThought(content)
        case shapes.RedactedThinking():
            if signer.content("redacted", block.data) is None:
                raise Refused(f"{where}: Invalid `data` in `redacted_thinking` block")
            return SeenThought("")
        case _:
            return _plain(block, where, seen)


def _plain(block: Any, where: str, seen: Seen) -> str | SeenMedia:
    match block:
        case shapes.Text(text=text):
            _note_mark(block, text, seen)
            return text
        case shapes.Image(source=source):
            _note_mark(block, "image", seen)
            return _image(source, where)
        case shapes.Document():
            _note_mark(block, "document", seen)
            return _document(block, where)
        case _:
            return "".join(text.text for text in block.content)


def _image(source: Any, where: str) -> SeenMedia:
    match source:
        case shapes.Base64Image(data=data, media_type=media_type):
            check_base64(data, f"{where}.image.source.base64")
            return SeenMedia("image", media_type, data)
        case shapes.URLImage(url=url):
            if not url.startswith(("http://", "https://")):
                raise Refused(f"{where}.image.source.url: Only HTTPS URLs are supported.")
            return SeenMedia("image", url=url)
        case _:
            raise Refused(f"File not found: {source.file_id}", kind="not_found")


def _document(block: shapes.Document, where: str) -> str | SeenMedia:
    match block.source:
        case shapes.Base64PDF(data=data):
            if not check_base64(data, f"{where}.source.base64.data").startswith(b"%PDF-"):
                raise Refused("The PDF specified was not valid.")
            return SeenMedia("document", "application/pdf", data)
        case shapes.URLPDF(url=url):
            return SeenMedia("document", url=url)
        case shapes.PlainText(data=data):
            return SeenMedia("document", "text/plain", base64.b64encode(data.encode()).decode())
        case shapes.ContentSource(content=str(text)):
            return text
        case _:
            raise Refused(f"{where}: File not found", kind="not_found")


def _result(block: shapes.ToolResult, where: str, seen: Seen) -> SeenResult:
    content = given(block.content)
    _note_mark(block, block.tool_use_id, seen)
    failed = bool(given(block.is_error))
    if content is None or isinstance(content, str):
        return SeenResult(block.tool_use_id, None, content or "", failed)
    parts = [_plain(part, f"{where}.content.{n}", seen) for n, part in enumerate(content)]
    media = tuple(part for part in parts if isinstance(part, SeenMedia))
    text = "".join(part for part in parts if isinstance(part, str))
    return SeenResult(block.tool_use_id, None, text, failed, media)


# -- the rest ---------------------------------------------------------------------------------


def _read_settings(wire: shapes.Request, seen: Seen) -> None:
    for name in ("max_tokens", "temperature", "top_p", "top_k", "service_tier"):
        value = given(getattr(wire, name))
        if value is not None:
            seen.settings[name] = value
    if stop := given(wire.stop_sequences):
        seen.settings["stop"] = stop
    metadata = given(wire.metadata)
    if metadata is not None and (user := given(metadata.user_id)):
        seen.settings["user"] = user
    if given(wire.cache_control) is not None:
        seen.cache_marks.append("request")
    _read_thinking(wire, seen)


def _read_thinking(wire: shapes.Request, seen: Seen) -> None:
    match given(wire.thinking):
        case shapes.Enabled(budget_tokens=budget, display=display):
            seen.thinking = {"budget": budget}
            seen.thoughts_shown = given(display) != "omitted"
        case shapes.Adaptive(display=display):
            seen.thinking = {"adaptive": True}
            seen.thoughts_shown = given(display) != "omitted"
        case shapes.Disabled():
            seen.thinking = {"disabled": True}
        case _:
            pass
    output = given(wire.output_config)
    if output is not None and (effort := given(output.effort)):
        seen.thinking["effort"] = effort
    if output is not None and (form := given(output.format)):
        seen.output = {"schema": form.schema}

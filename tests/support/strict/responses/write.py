"""Answers of Responses, whole and streamed.

Source: openai.types.responses.Response and its events; protocols.md, 1.2.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.support.strict.chat.write import CREATED, SNAPSHOT, logprob
from tests.support.strict.responses.read import reasons
from tests.support.strict.script import (
    Cite,
    Redacted,
    Refuse,
    Say,
    SpokenCall,
    Step,
    Think,
    Tokens,
    pieces,
    spoken,
)
from tests.support.strict.seen import Seen
from tests.support.strict.signing import Signer

NewId = Callable[[str], str]
Item = dict[str, Any]
Events = Iterator[dict[str, Any]]
_INCOMPLETE: Final = {
    "length": "max_output_tokens",
    "filtered": "content_filter",
    "blocked": "content_filter",
}


def usage(tokens: Tokens) -> dict[str, Any]:
    """Token counts in OpenAI's arithmetic: totals include their parts."""
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": {
            "cached_tokens": tokens.cached,
            "cache_write_tokens": tokens.cache_write,
        },
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.input + tokens.output,
    }


def items(step: Step, seen: Seen, new_id: NewId, signer: Signer) -> Iterator[Item]:
    """The output items of an answer, complete."""
    for part in spoken(step, seen):
        match part:
            case Say(text=text, cites=cites):
                top = seen.settings.get("top_logprobs", 0)
                tokens = [logprob(one, top) for one in text[:3]]
                shown = tokens if seen.settings.get("logprobs") else []
                noted = [_annotation(cite) for cite in cites]
                said = {"type": "output_text", "annotations": noted, "logprobs": shown}
                yield _message({**said, "text": text}, new_id)
            case Refuse(text=text):
                yield _message({"type": "refusal", "refusal": text}, new_id)
            case Think() | Redacted() if reasons(seen.model):
                yield _reasoning(part, seen, new_id, signer)
            case SpokenCall():
                yield _call(part, new_id)
            case _:
                pass


def _annotation(cite: Cite) -> dict[str, Any]:
    about = {"type": "url_citation", "url": cite.url, "title": cite.title}
    return {**about, "start_index": cite.start, "end_index": cite.end}


def _message(part: dict[str, Any], new_id: NewId) -> Item:
    return {
        "id": new_id("msg_"),
        "type": "message",
        "status": "completed",
        "content": [part],
        "role": "assistant",
    }


def _reasoning(part: Think | Redacted, seen: Seen, new_id: NewId, signer: Signer) -> Item:
    thought = part.text if isinstance(part, Think) else ""
    shown = [{"type": "summary_text", "text": thought}] if seen.thoughts_shown and thought else []
    return {
        "id": new_id("rs_"),
        "type": "reasoning",
        "summary": shown,
        "encrypted_content": signer.sign("reasoning", thought),
    }


def _call(call: SpokenCall, new_id: NewId) -> Item:
    if call.custom:
        return {
            "id": new_id("ctc_"),
            "type": "custom_tool_call",
            "status": "completed",
            "call_id": new_id("call_"),
            "input": call.text,
            "name": call.name,
        }
    space, _, name = call.name.rpartition(".")
    return {
        "id": new_id("fc_"),
        "type": "function_call",
        "status": "completed",
        "arguments": call.text,
        "call_id": new_id("call_"),
        "name": name,
        **({"namespace": space} if space else {}),
    }


def response(
    step: Step, seen: Seen, body: dict[str, Any], response_id: str, output: list[Item]
) -> dict[str, Any]:
    """A whole response, with the request's settings in it as the API has them."""
    refused = any(isinstance(part, Refuse) for part in step.parts)
    reason = None if refused else _INCOMPLETE.get(step.finish)
    if reason and output:
        output = [*output[:-1], {**output[-1], "status": "incomplete"}]
    text = {"format": {"type": "text"}, "verbosity": "medium", **body.get("text", {})}
    reasoning = {"effort": None, "summary": None, **(body.get("reasoning") or {})}
    return {
        "id": response_id,
        "object": "response",
        "created_at": CREATED,
        "completed_at": CREATED + 1,
        "status": "incomplete" if reason else "completed",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "metadata": body.get("metadata") or {},
        "model": seen.model + SNAPSHOT,
        "output": output,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": None,
        "reasoning": reasoning,
        "safety_identifier": None,
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": text,
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "top_logprobs": 0,
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": usage(step.tokens),
        "user": None,
    }


def stream(whole: dict[str, Any], signer: Signer) -> list[bytes]:
    """The whole response as events."""
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
    begun["incomplete_details"] = None
    told: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        *(event for number, item in enumerate(whole["output"]) for event in _item(number, item)),
        {"type": f"response.{whole['status']}", "response": whole},
    ]
    return [event(one, number) for number, one in enumerate(told)]


def event(told: dict[str, Any], number: int) -> bytes:
    """One event, with its name and its number."""
    data = json.dumps({**told, "sequence_number": number}, ensure_ascii=False)
    return f"event: {told['type']}\ndata: {data}\n\n".encode()


def _item(number: int, item: Item) -> Events:
    at = {"output_index": number, "item_id": item["id"]}
    started: dict[str, Any]
    match item["type"]:
        case "message":
            started, told = {"content": []}, _message_events(item["content"][0], at)
        case "reasoning":
            # What comes with the item's start is not the whole of it yet.
            partial = item["encrypted_content"][:40]
            started = {"summary": [], "encrypted_content": partial}
            told = _summary_events(item["summary"], at)
        case "custom_tool_call":
            started = {"input": ""}
            told = _argument_events("custom_tool_call_input", "input", item, at)
        case _:
            started = {"arguments": ""}
            told = _argument_events("function_call_arguments", "arguments", item, at)
    opened = {**item, **started}
    if "status" in item:
        opened["status"] = "in_progress"
    yield {"type": "response.output_item.added", "output_index": number, "item": opened}
    yield from told
    yield {"type": "response.output_item.done", "output_index": number, "item": item}


def _message_events(part: dict[str, Any], at: dict[str, Any]) -> Events:
    place = {**at, "content_index": 0}
    refused = part["type"] == "refusal"
    name, member = ("refusal", "refusal") if refused else ("output_text", "text")
    extra: dict[str, Any] = {} if refused else {"logprobs": []}
    empty = {**part, member: "", **extra, **({} if refused else {"annotations": []})}
    yield {"type": "response.content_part.added", **place, "part": empty}
    shown = part.get("logprobs") or []
    for number, piece in enumerate(pieces(part[member])):
        more = {} if refused else {"logprobs": shown[number : number + 1], "obfuscation": "q8"}
        yield {"type": f"response.{name}.delta", **place, "delta": piece, **more}
    for number, note in enumerate(part.get("annotations", ())):
        added = {"annotation_index": number, "annotation": note}
        yield {"type": "response.output_text.annotation.added", **place, **added}
    yield {"type": f"response.{name}.done", **place, member: part[member], **extra}
    yield {"type": "response.content_part.done", **place, "part": part}


def _summary_events(summary: list[dict[str, Any]], at: dict[str, Any]) -> Events:
    for number, part in enumerate(summary):
        place = {**at, "summary_index": number}
        kind = "response.reasoning_summary"
        yield {"type": f"{kind}_part.added", **place, "part": {**part, "text": ""}}
        for piece in pieces(part["text"]):
            yield {"type": f"{kind}_text.delta", **place, "delta": piece, "obfuscation": "z"}
        yield {"type": f"{kind}_text.done", **place, "text": part["text"]}
        yield {"type": f"{kind}_part.done", **place, "part": part}


def _argument_events(name: str, member: str, item: Item, at: dict[str, Any]) -> Events:
    for piece in pieces(item[member], 7):
        yield {"type": f"response.{name}.delta", **at, "delta": piece, "obfuscation": "w1"}
    named = {"name": item["name"]} if member == "arguments" else {}
    yield {"type": f"response.{name}.done", **at, member: item[member], **named}

"""The response object: what is said of an answer beside its items, and what was asked for it.

A client gets it up to three times, complete each time, so its constant part is written once.
Source: protocols.md, 1.2, "Response".
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from bitrouter.envelope import Fields
from bitrouter.ir import Finish, Usage
from bitrouter.protocols.translator import Reply

# The members of a request that its answer repeats, with what is true where the client said nothing.
_ECHOED: Final[dict[str, bytes]] = {
    "instructions": b"null",
    "max_output_tokens": b"null",
    "metadata": b"{}",
    "parallel_tool_calls": b"true",
    "reasoning": b'{"effort":null,"summary":null}',
    "store": b"false",
    "temperature": b"null",
    "text": b'{"format":{"type":"text"}}',
    "tool_choice": b'"auto"',
    "tools": b"[]",
    "top_p": b"null",
    "truncation": b'"disabled"',
    "user": b"null",
}
# These are repeated only if they were said.
_ECHOED_IF_SAID: Final = (
    "max_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "top_logprobs",
)

_encode: Final = msgspec.json.Encoder().encode
# The beginning of each member, and what it is where the client said nothing.
_MEMBERS: Final = {
    name: (b'"%b":' % name.encode(), b'"%b":%b' % (name.encode(), default))
    for name, default in _ECHOED.items()
}
_MEMBERS_IF_SAID: Final = {name: b'"%b":' % name.encode() for name in _ECHOED_IF_SAID}


class ResponseObject:
    """The response object of one answer, in any state that it goes through."""

    def __init__(self, reply: Reply) -> None:
        self.id = reply.mint("resp_")
        self._head = b'{"id":%b,"object":"response","created_at":%d,"status":"' % (
            _encode(self.id),
            reply.created_s,
        )
        self._tail = b',"model":%b,"previous_response_id":null,%b,"output":' % (
            _encode(reply.request.model),
            _echo(reply.request.fields),
        )

    def state(
        self,
        status: str,
        output: Iterable[bytes] = (),
        usage: Usage | None = None,
        *,
        error: dict[str, Any] | None = None,
        incomplete: str | None = None,
    ) -> bytes:
        """The object as JSON. `output` are items as JSON; `incomplete` is the reason."""
        return b"".join(
            (
                self._head,
                status.encode(),
                b'","error":',
                _encode(error),
                b',"incomplete_details":',
                _encode({"reason": incomplete} if incomplete else None),
                self._tail,
                b"[",
                b",".join(output),
                b'],"usage":',
                _encode(encode_usage(usage)),
                b"}",
            )
        )


def _echo(fields: Fields) -> bytes:
    """The repeated members, each on one line: a line end in the client's own JSON would end an
    event.
    """
    members = []
    for name, (beginning, default) in _MEMBERS.items():
        raw = fields.get(name)
        if raw is None or (value := bytes(raw)) == b"null":
            members.append(default)
        else:
            members.append(beginning + _on_one_line(value))
    for name, beginning in _MEMBERS_IF_SAID.items():
        raw = fields.get(name)
        if raw is not None and (value := bytes(raw)) != b"null":
            members.append(beginning + _on_one_line(value))
    return b",".join(members)


def _on_one_line(value: bytes) -> bytes:
    if b"\n" in value or b"\r" in value:
        return msgspec.json.format(value, indent=-1)
    return value


def encode_usage(usage: Usage | None) -> dict[str, Any] | None:
    """The value of `usage`: both details objects are always there (protocols.md, 2.7)."""
    if usage is None or (usage.input_tokens is None and usage.output_tokens is None):
        return None
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "input_tokens": read,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": read + written,
    }


class Ending(msgspec.Struct, frozen=True):
    """How a finish reason is said: the status, and why an answer is incomplete or has failed."""

    status: str
    incomplete: str | None = None
    error: dict[str, str] | None = None


_COMPLETED: Final = Ending("completed")
_CUT: Final = Ending("incomplete", "max_output_tokens")


def ending(finish: Finish, *, has_output: bool, has_refusal: bool) -> Ending:
    """See protocols.md, 2.7, "Finish"."""
    if finish.reason in ("length", "context"):
        return _CUT
    if finish.reason == "filtered" and not has_refusal:
        return Ending("incomplete", "content_filter")
    if finish.reason == "other" and not has_output:
        message = f"the model gave no answer: {finish.raw or 'no reason given'}"
        return Ending("failed", error={"code": "server_error", "message": message})
    return _COMPLETED

"""Chat Completions on the wire, as far as it is read: protocols.md, 1.1.

What a client sends is typed strictly, so that a mistake is named by its place. Of what a provider
sends, only that is typed without which there is no answer; the rest is looked at where it is used,
so that one odd member of a server that imitates the API costs nothing but itself.
"""

import re
from typing import Annotated, Any, Final

import msgspec
from msgspec import Raw, Struct

from bitrouter.ir import Signature

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

GOOGLE: Final = "g"  # whose the signatures in `extra_content.google` are

# The arguments of a call: a JSON string, though some write the object itself.
Arguments = str | dict[str, Raw] | None


class FunctionCall(Struct, gc=False):
    """`function` of a tool call, and the legacy `function_call`."""

    name: str | None = None
    arguments: Arguments = None


class CustomCall(Struct, gc=False):
    """`custom` of a call of a free-text tool."""

    name: str | None = None
    input: str | None = None


class ToolCall(Struct, gc=False):
    """A tool call, or a piece of one in a stream, where `index` tells which."""

    id: str | None = None
    type: str | None = None
    index: int | None = None
    function: FunctionCall | None = None
    custom: CustomCall | None = None
    extra_content: Any = None

    def thought_signature(self) -> str | None:
        """Google's signature at `extra_content.google.thought_signature`: protocols.md, 2.5."""
        extra = self.extra_content
        google = extra.get("google") if isinstance(extra, dict) else None
        value = google.get("thought_signature") if isinstance(google, dict) else None
        return value if isinstance(value, str) and value else None


def google_extra(signature: Signature | None) -> dict[str, Any]:
    """`extra_content` for a call that Google signed, in Google's own way; else nothing."""
    if signature is None or signature.origin != GOOGLE or not signature.value:
        return {}
    return {"extra_content": {"google": {"thought_signature": signature.value}}}


def arguments_text(arguments: Arguments) -> str:
    """The arguments of a call as JSON text, as they were written; none are an empty object."""
    if isinstance(arguments, dict):
        return msgspec.json.encode(arguments).decode(errors="replace")
    return arguments if arguments and not arguments.isspace() else "{}"


def written_by_model(call: FunctionCall | CustomCall) -> str:
    """What the model wrote in a whole call: arguments, or free text."""
    if isinstance(call, CustomCall):
        return call.input or ""
    return arguments_text(call.arguments)


# -- requests -------------------------------------------------------------------------------


class CacheControl(Struct):
    """`cache_control` (5m, 1h) or `prompt_cache_breakpoint` (30m, 12h)."""

    ttl: str | None = None


class URL(Struct):
    """`image_url` and `video_url`."""

    url: str
    detail: str | None = None


class InputAudio(Struct):
    """`input_audio`: base64, and a format such as wav."""

    data: str
    format: str


class File(Struct):
    """`file`: its data as a data URL or base64, or its id at the vendor."""

    file_data: str | None = None
    filename: str | None = None
    file_id: str | None = None


class Part(Struct):
    """A content part of any type."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: URL | str | None = None
    video_url: URL | str | None = None
    input_audio: InputAudio | None = None
    file: File | None = None
    cache_control: CacheControl | None = None
    prompt_cache_breakpoint: CacheControl | None = None


class Message(Struct):
    """A message of any role."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: FunctionCall | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    audio: Any = None
    cache_control: CacheControl | None = None


class Function(Struct):
    """`function` of a tool, and an entry of the legacy `functions`."""

    name: str
    description: str | None = None
    parameters: Raw = Raw()
    strict: bool | None = None


class CustomTool(Struct):
    """`custom` of a tool."""

    name: str
    description: str | None = None
    format: dict[str, Raw] | None = None


class Tool(Struct):
    """An entry of `tools`."""

    type: str
    function: Function | None = None
    custom: CustomTool | None = None
    cache_control: CacheControl | None = None


class Named(Struct):
    """What names a tool."""

    name: str


class NamedTool(Struct):
    """A tool that is chosen: `function` or `custom` holds its name."""

    type: str
    function: Named | None = None
    custom: Named | None = None


class AllowedTools(Struct):
    """`allowed_tools` of a tool choice."""

    mode: str
    tools: list[NamedTool]


class ToolChoice(NamedTool):
    """`tool_choice` that is an object."""

    allowed_tools: AllowedTools | None = None


class JSONSchema(Struct):
    """`json_schema` of a response format."""

    name: str | None = None
    description: str | None = None
    schema: Raw = Raw()
    strict: bool | None = None


class ResponseFormat(Struct):
    """`response_format`."""

    type: str
    json_schema: JSONSchema | None = None


class StreamOptions(Struct):
    """`stream_options`."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class WebSearchOptions(Struct):
    """`web_search_options`."""

    search_context_size: str | None = None
    user_location: Any = None


class Body(Struct):
    """A request. Members that are not here are not known."""

    messages: list[Message]
    model: str = ""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: Count | None = None
    max_tokens: Count | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Count | None = None
    stop: str | list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: Integer | None = None
    n: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Count | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Function] | None = None
    function_call: str | Named | None = None
    web_search_options: WebSearchOptions | None = None
    modalities: list[str] | None = None
    service_tier: str | None = None
    metadata: Raw = Raw()
    user: str | None = None
    safety_identifier: str | None = None


body: Final = msgspec.json.Decoder(Body)


# -- answers --------------------------------------------------------------------------------


class Delta(Struct, gc=False):
    """What a message, or a piece of one in a stream, says. `content` may be a list of parts."""

    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    tool_calls: list[ToolCall] | None = None
    function_call: FunctionCall | None = None
    annotations: Any = None


class Choice(Struct, gc=False):
    """One of the answers: with `message` as a whole, with `delta` a piece of it."""

    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: Any = None
    logprobs: Any = None


class Completion(Struct, gc=False):
    """A whole answer, or a chunk of a stream."""

    choices: list[Choice] | None = None
    id: Any = None
    model: Any = None
    usage: Any = None
    error: Any = None


_completion: Final = msgspec.json.Decoder(Completion)

# A pair of surrogates, any other escape; and half a pair, which no UTF-8 can have.
_ESCAPE: Final = re.compile(
    rb"(\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\[^u]|\\u(?![dD][89a-fA-F])....)|\\u[dD]...", re.DOTALL
)


def decode_completion(data: bytes) -> Completion:
    """Decode an answer or a chunk. Half a surrogate pair, which is what servers send that cut text
    by UTF-16 units, becomes a replacement character.

    Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError.
    """
    try:
        return _completion.decode(data)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        mended = _ESCAPE.sub(lambda found: found[1] or rb"\ufffd", data)
        if mended == data:
            raise
        return _completion.decode(mended)

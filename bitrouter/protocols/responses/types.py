"""Responses on the wire: what is read of requests and of answers. Source: protocols.md, 1.2.

One struct serves many item types, for their members hardly clash and `type` may be missing (an item
with only `role` and `content` is a message). Members that are not listed are passed over.
"""

from typing import Annotated, Any, Final, Literal

import msgspec

from bitrouter.ir import Effort

ABSENT: Final = msgspec.Raw()
# No count is larger, and no number that JSON readers have in common.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53)]


def is_given(raw: msgspec.Raw) -> bool:
    """Whether a member is there, null being the same as absent."""
    return len(raw) > 0 and bytes(raw) != b"null"


# -- content --------------------------------------------------------------------------------


class Breakpoint(msgspec.Struct, gc=False):
    """`prompt_cache_breakpoint` of OpenAI, or `cache_control` as OpenRouter takes it."""

    ttl: str | None = None


class ImageURL(msgspec.Struct, gc=False):
    """How Chat Completions writes an image, which some clients send here too."""

    url: str
    detail: str | None = None


class Audio(msgspec.Struct, gc=False):
    """`input_audio`. `data` is base64, `format` wav or mp3."""

    data: str
    format: str


class Annotation(msgspec.Struct, gc=False):
    """A citation in a text, of which only `url_citation` has a neutral form."""

    type: str = ""
    url: str | None = None
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class Part(msgspec.Struct):
    """A part of a message, of a call's output, or of reasoning."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    annotations: list[Annotation] | None = None
    image_url: str | ImageURL | None = None
    detail: str | None = None
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None
    input_audio: Audio | None = None
    prompt_cache_breakpoint: Breakpoint | None = None
    cache_control: Breakpoint | None = None


# -- requests -------------------------------------------------------------------------------


class Filters(msgspec.Struct):
    """`filters` of a web search."""

    allowed_domains: tuple[str, ...] | None = None
    blocked_domains: tuple[str, ...] | None = None


class Tool(msgspec.Struct):
    """A tool of any type. `tools` are those of a namespace."""

    type: str = ""
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = ABSENT
    strict: bool | None = None
    format: msgspec.Raw = ABSENT
    tools: "list[Tool] | None" = None
    search_context_size: str | None = None
    filters: Filters | None = None
    user_location: msgspec.Raw = ABSENT
    external_web_access: bool | None = None
    cache_control: Breakpoint | None = None


class Item(msgspec.Struct):
    """An item of `input`. `tools` are those that an `additional_tools` item brings."""

    type: str | None = None
    role: str | None = None
    content: str | list[Part] | None = None
    phase: str | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | dict[str, Any] | None = None
    input: str | dict[str, Any] | None = None
    output: str | list[Part] | dict[str, Any] | None = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None
    tools: list[Tool] | None = None


class ChosenTool(msgspec.Struct):
    """`tool_choice` as an object, and a member of its `tools`."""

    type: str
    name: str | None = None
    namespace: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: "list[ChosenTool] | None" = None


class ReasoningSettings(msgspec.Struct, gc=False):
    """`reasoning`. `generate_summary` is the old name of `summary`."""

    effort: Effort | None = None
    summary: str | None = None
    generate_summary: str | None = None
    context: str | None = None
    mode: str | None = None


class TextFormat(msgspec.Struct):
    """`text.format`, flat."""

    type: str
    name: str | None = None
    description: str | None = None
    schema: msgspec.Raw = ABSENT
    strict: bool | None = None


class TextSettings(msgspec.Struct):
    """`text`."""

    format: TextFormat | None = None
    verbosity: str | None = None


class StreamOptions(msgspec.Struct, gc=False):
    """`stream_options`."""

    include_obfuscation: bool | None = None


class Body(msgspec.Struct):
    """The members of a request that have a neutral form."""

    input: str | list[Item] | None = None
    instructions: str | None = None
    max_output_tokens: Positive | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    reasoning: ReasoningSettings | None = None
    text: TextSettings | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ChosenTool | None = None
    parallel_tool_calls: bool | None = None
    include: list[str] | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    background: bool | None = None
    truncation: str | None = None
    stream_options: StreamOptions | None = None


# -- answers --------------------------------------------------------------------------------


class OutputItem(msgspec.Struct):
    """An item of `output`. `arguments` should be a string, and at some servers is an object."""

    type: str = ""
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    input: str | None = None
    content: list[msgspec.Raw] | None = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None


class OutputPart(msgspec.Struct):
    """A part of a message in an answer, or of its reasoning."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    annotations: list[msgspec.Raw] | None = None
    logprobs: msgspec.Raw = ABSENT


class IncompleteDetails(msgspec.Struct, gc=False):
    """Why an answer is incomplete."""

    reason: str | None = None


class Response(msgspec.Struct):
    """An answer. What may be odd at servers that imitate the API is decoded on its own."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    error: msgspec.Raw = ABSENT
    incomplete_details: IncompleteDetails | None = None
    output: list[msgspec.Raw] | None = None
    usage: msgspec.Raw = ABSENT

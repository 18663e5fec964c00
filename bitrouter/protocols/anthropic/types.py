"""What is read off the Messages wire: requests, answers, stream events (protocols.md, 1.3).

Members that mean nothing to the neutral form are not here. Blocks and tools come as raw JSON and
are decoded by their `type`, because there are more types than anyone knows.
"""

from typing import Annotated, Any, Final, Literal

import msgspec

from bitrouter.ir import CacheMark, Effort
from bitrouter.protocols.anthropic.usage import Count, MessagesUsage

Name = Annotated[str, msgspec.Meta(min_length=1)]
Index = Annotated[int, msgspec.Meta(ge=0)]

HOUR_S: Final = 3600

# What is not there. (Raw in a union with None would take nothing but null.)
NULL: Final = msgspec.Raw(b"null")


class CacheControl(msgspec.Struct, gc=False):
    """`cache_control`: five minutes unless `ttl` says an hour."""

    type: Literal["ephemeral"] = "ephemeral"
    ttl: str | None = None

    def neutral(self) -> CacheMark:
        """The same in the neutral form."""
        return CacheMark(HOUR_S if self.ttl == "1h" else None)


class Typed(msgspec.Struct, gc=False):
    """Whatever has a type; or it is an error."""

    type: str | None = None
    error: msgspec.Raw = NULL


# -- requests ---------------------------------------------------------------------------------


class Turn(msgspec.Struct):
    """A member of `messages`."""

    role: str
    content: str | list[msgspec.Raw]


class ToolChoice(msgspec.Struct):
    """`tool_choice`."""

    type: Literal["auto", "any", "tool", "none"]
    name: Name | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingConfig(msgspec.Struct):
    """`thinking`."""

    type: Literal["enabled", "adaptive", "disabled", "between_tools"]
    budget_tokens: Count | None = None
    display: str | None = None


class OutputFormat(msgspec.Struct):
    """`output_config.format`."""

    type: Literal["json_schema"]
    schema: msgspec.Raw


class OutputConfig(msgspec.Struct):
    """`output_config`."""

    effort: Effort | None = None
    format: OutputFormat | None = None


class Metadata(msgspec.Struct):
    """`metadata`."""

    user_id: str | None = None


class MCPServer(msgspec.Struct):
    """A member of `mcp_servers`: tools that the vendor calls by itself."""

    name: Name


class MessagesRequest(msgspec.Struct):
    """The body of a request, but for the model. Counting tokens goes without `max_tokens`."""

    messages: list[Turn]
    max_tokens: Count | None = None
    system: str | list[msgspec.Raw] | None = None
    stream: bool | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: ToolChoice | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Count | None = None
    stop_sequences: list[str] | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    metadata: Metadata | None = None
    service_tier: str | None = None
    cache_control: CacheControl | None = None
    mcp_servers: list[MCPServer] | None = None


class ClientTool(msgspec.Struct):
    """A tool that the client runs itself."""

    name: Name
    description: str | None = None
    input_schema: msgspec.Raw = NULL
    strict: bool | None = None
    cache_control: CacheControl | None = None


class HostedTool(msgspec.Struct):
    """A tool that Anthropic runs, or defines. Toolsets have no name."""

    type: str
    name: str | None = None
    allowed_domains: list[str] | None = None


class TextBlock(msgspec.Struct):
    """A text in a request; the citations that a replayed answer has mean nothing there."""

    text: str
    cache_control: CacheControl | None = None


class Source(msgspec.Struct):
    """Where an image or a document is, by `type`: base64, url, file, text, content."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: str | list[msgspec.Raw] | None = None


class CitationsConfig(msgspec.Struct, gc=False):
    """Whether an answer is to cite a document."""

    enabled: bool | None = None


class MediaBlock(msgspec.Struct):
    """An image or a document; an image has neither title nor context."""

    source: Source
    title: str | None = None
    context: str | None = None
    citations: CitationsConfig | None = None
    cache_control: CacheControl | None = None


class SearchResultBlock(msgspec.Struct):
    """A passage that the client has found: `source` says where."""

    source: str
    title: str
    content: list[TextBlock]
    citations: CitationsConfig | None = None
    cache_control: CacheControl | None = None


class ToolUseBlock(msgspec.Struct):
    """A call in a request's history."""

    id: Name
    name: Name
    input: msgspec.Raw
    cache_control: CacheControl | None = None


class ToolResultBlock(msgspec.Struct):
    """What a call gave."""

    tool_use_id: Name
    content: str | list[msgspec.Raw] | None = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None


class ThinkingBlock(msgspec.Struct):
    """Thinking, in a request or an answer. Servers that imitate the API leave it unsigned."""

    thinking: str = ""
    signature: str | None = None


class RedactedThinkingBlock(msgspec.Struct):
    """Thinking that only Anthropic can read."""

    data: str


# -- answers ----------------------------------------------------------------------------------


class WebCitation(msgspec.Struct):
    """A citation; of the kinds that there are only `web_search_result_location` has a URL."""

    type: str | None = None
    url: str | None = None
    title: str | None = None
    cited_text: str | None = None


class AnswerText(msgspec.Struct):
    """A text in an answer."""

    text: str | None = None
    citations: msgspec.Raw = NULL


class AnswerCall(msgspec.Struct):
    """A call in an answer."""

    name: Name
    id: str | None = None
    input: msgspec.Raw = NULL


class StopDetails(msgspec.Struct):
    """`stop_details`: what is said to a refusal."""

    explanation: str | None = None
    category: str | None = None


class MessagesAnswer(msgspec.Struct):
    """A whole answer."""

    content: list[msgspec.Raw]
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: msgspec.Raw = NULL
    usage: msgspec.Raw = NULL


# -- stream events ----------------------------------------------------------------------------


class StartedMessage(msgspec.Struct):
    """`message` of message_start."""

    id: str | None = None
    model: str | None = None
    usage: msgspec.Raw = NULL


class MessageStart(msgspec.Struct):
    """message_start."""

    message: StartedMessage | None = None


class StartedBlock(msgspec.Struct):
    """`content_block` of content_block_start, which may hold more than its head."""

    type: str
    id: str | None = None
    name: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    input: msgspec.Raw = NULL


class BlockStart(msgspec.Struct):
    """content_block_start."""

    index: Index
    content_block: StartedBlock


class BlockFragment(msgspec.Struct, gc=False):
    """`delta` of content_block_delta: by its type one of these."""

    type: str
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    citation: msgspec.Raw = NULL


class BlockDelta(msgspec.Struct, gc=False):
    """content_block_delta."""

    index: Index
    delta: BlockFragment


class BlockStop(msgspec.Struct, gc=False):
    """content_block_stop."""

    index: Index


class MessageChange(msgspec.Struct):
    """`delta` of message_delta."""

    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: msgspec.Raw = NULL


class MessageDelta(msgspec.Struct):
    """message_delta. Its usage is that of the whole answer so far."""

    delta: MessageChange | None = None
    usage: msgspec.Raw = NULL


usage: Final = msgspec.json.Decoder(MessagesUsage)
web_citation: Final = msgspec.json.Decoder(WebCitation)
web_citations: Final = msgspec.json.Decoder(list[WebCitation])
typed: Final = msgspec.json.Decoder(Typed)
stop_details: Final = msgspec.json.Decoder(StopDetails)
members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
anything: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()

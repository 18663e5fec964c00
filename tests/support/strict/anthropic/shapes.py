"""What a request to Messages may hold: every member, and nothing else.

Source: anthropic.types (the `…Param` types of the SDK); `tests/unit/strict` compares them.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from tests.support.strict.body import Shape

ToolId = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]+$", max_length=256)]
ToolName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
Unit = Annotated[float, Meta(ge=0, le=1)]


class CacheControl(Shape):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | UnsetType = UNSET


Cache = CacheControl | UnsetType | None


class Text(Shape, tag_field="type", tag="text"):
    text: str
    cache_control: Cache = UNSET
    citations: list[dict[str, Any]] | UnsetType | None = UNSET


class Base64Image(Shape, tag_field="type", tag="base64"):
    data: str
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]


class URLImage(Shape, tag_field="type", tag="url"):
    url: str


class FileSource(Shape, tag_field="type", tag="file"):
    file_id: str


class Image(Shape, tag_field="type", tag="image"):
    source: Base64Image | URLImage | FileSource
    cache_control: Cache = UNSET
    transformations: dict[str, Any] | UnsetType | None = UNSET


class Base64PDF(Shape, tag_field="type", tag="base64"):
    data: str
    media_type: Literal["application/pdf"]


class PlainText(Shape, tag_field="type", tag="text"):
    data: str
    media_type: Literal["text/plain"]


class URLPDF(Shape, tag_field="type", tag="url"):
    url: str


class ContentSource(Shape, tag_field="type", tag="content"):
    content: str | list[Text | Image]


class CitationsConfig(Shape):
    enabled: bool | UnsetType = UNSET


class Document(Shape, tag_field="type", tag="document"):
    source: Base64PDF | PlainText | URLPDF | ContentSource | FileSource
    cache_control: Cache = UNSET
    citations: CitationsConfig | UnsetType | None = UNSET
    context: str | UnsetType | None = UNSET
    title: str | UnsetType | None = UNSET


class SearchResult(Shape, tag_field="type", tag="search_result"):
    content: list[Text]
    source: str
    title: str
    cache_control: Cache = UNSET
    citations: CitationsConfig | UnsetType = UNSET


class ToolUse(Shape, tag_field="type", tag="tool_use"):
    id: ToolId
    input: dict[str, Any]
    name: ToolName
    cache_control: Cache = UNSET
    caller: dict[str, Any] | UnsetType = UNSET
    toolset_name: str | UnsetType | None = UNSET


class ToolResult(Shape, tag_field="type", tag="tool_result"):
    tool_use_id: ToolId
    cache_control: Cache = UNSET
    content: str | list[Text | Image | Document | SearchResult] | UnsetType = UNSET
    is_error: bool | UnsetType = UNSET
    toolset_name: str | UnsetType | None = UNSET


class Thinking(Shape, tag_field="type", tag="thinking"):
    thinking: str
    signature: str


class RedactedThinking(Shape, tag_field="type", tag="redacted_thinking"):
    data: str


UserBlock = Text | Image | Document | SearchResult | ToolResult
AssistantBlock = Text | ToolUse | Thinking | RedactedThinking


class UserMessage(Shape, tag_field="role", tag="user"):
    content: str | list[UserBlock]


class AssistantMessage(Shape, tag_field="role", tag="assistant"):
    content: str | list[AssistantBlock]


class Tool(Shape):
    name: ToolName
    input_schema: dict[str, Any]
    allowed_callers: list[str] | UnsetType = UNSET
    cache_control: Cache = UNSET
    defer_loading: bool | UnsetType = UNSET
    description: str | UnsetType = UNSET
    eager_input_streaming: bool | UnsetType | None = UNSET
    input_examples: list[dict[str, Any]] | UnsetType = UNSET
    strict: bool | UnsetType = UNSET
    type: Literal["custom"] | UnsetType | None = UNSET


class WebSearch(Shape):
    type: Literal["web_search_20250305", "web_search_20260209", "web_search_20260318"]
    name: Literal["web_search"]
    allowed_callers: list[str] | UnsetType = UNSET
    allowed_domains: list[str] | UnsetType | None = UNSET
    blocked_domains: list[str] | UnsetType | None = UNSET
    cache_control: Cache = UNSET
    defer_loading: bool | UnsetType = UNSET
    max_uses: int | UnsetType | None = UNSET
    strict: bool | UnsetType = UNSET
    user_location: dict[str, Any] | UnsetType | None = UNSET


class ChoiceAuto(Shape, tag_field="type", tag="auto"):
    disable_parallel_tool_use: bool | UnsetType = UNSET


class ChoiceAny(Shape, tag_field="type", tag="any"):
    disable_parallel_tool_use: bool | UnsetType = UNSET


class ChoiceTool(Shape, tag_field="type", tag="tool"):
    name: str
    disable_parallel_tool_use: bool | UnsetType = UNSET


class ChoiceNone(Shape, tag_field="type", tag="none"):
    pass


class Adaptive(Shape, tag_field="type", tag="adaptive"):
    display: Literal["summarized", "omitted"] | UnsetType | None = UNSET


class Enabled(Shape, tag_field="type", tag="enabled"):
    budget_tokens: Annotated[int, Meta(ge=1024)]
    display: Literal["summarized", "omitted"] | UnsetType | None = UNSET


class Disabled(Shape, tag_field="type", tag="disabled"):
    pass


class JSONFormat(Shape):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(Shape):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | UnsetType | None = UNSET
    format: JSONFormat | UnsetType | None = UNSET


class Metadata(Shape):
    user_id: Annotated[str, Meta(max_length=256)] | UnsetType | None = UNSET


class Request(Shape):
    model: str
    max_tokens: Annotated[int, Meta(ge=0)]
    messages: Annotated[list[UserMessage | AssistantMessage], Meta(min_length=1)]
    cache_control: Cache = UNSET
    container: str | dict[str, Any] | UnsetType | None = UNSET
    diagnostics: dict[str, Any] | UnsetType | None = UNSET
    inference_geo: str | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET
    output_config: OutputConfig | UnsetType = UNSET
    service_tier: Literal["auto", "standard_only"] | UnsetType = UNSET
    speed: Literal["fast", "standard"] | UnsetType | None = UNSET
    stop_sequences: list[str] | UnsetType = UNSET
    stream: bool | UnsetType = UNSET
    system: str | list[Text] | UnsetType = UNSET
    temperature: Unit | UnsetType = UNSET
    thinking: Adaptive | Enabled | Disabled | UnsetType = UNSET
    tool_choice: ChoiceAuto | ChoiceAny | ChoiceTool | ChoiceNone | UnsetType = UNSET
    tools: list[dict[str, Any]] | UnsetType = UNSET
    top_k: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    top_p: Unit | UnsetType = UNSET

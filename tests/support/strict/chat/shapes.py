"""What a request to Chat Completions may hold: every member, and nothing else.

Source: openai.types.chat (the `…Param` types of the SDK); `tests/unit/strict` compares them.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from tests.support.strict.body import Shape

Name = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Positive = Annotated[int, Meta(ge=1)]


class Breakpoint(Shape):
    mode: Literal["explicit"]
    ttl: Literal["30m", "12h"] | UnsetType = UNSET


class TextPart(Shape, tag_field="type", tag="text"):
    text: str
    prompt_cache_breakpoint: Breakpoint | UnsetType = UNSET


class ImageURL(Shape):
    url: str
    detail: Literal["auto", "low", "high", "original"] | UnsetType = UNSET


class ImagePart(Shape, tag_field="type", tag="image_url"):
    image_url: ImageURL
    prompt_cache_breakpoint: Breakpoint | UnsetType = UNSET


class InputAudio(Shape):
    data: str
    format: Literal["wav", "mp3"]


class AudioPart(Shape, tag_field="type", tag="input_audio"):
    input_audio: InputAudio
    prompt_cache_breakpoint: Breakpoint | UnsetType = UNSET


class FileFile(Shape):
    file_data: str | UnsetType = UNSET
    file_id: str | UnsetType = UNSET
    filename: str | UnsetType = UNSET


class FilePart(Shape, tag_field="type", tag="file"):
    file: FileFile
    prompt_cache_breakpoint: Breakpoint | UnsetType = UNSET


class RefusalPart(Shape, tag_field="type", tag="refusal"):
    refusal: str


Texts = str | list[TextPart]
UserParts = list[TextPart | ImagePart | AudioPart | FilePart]


class SystemMessage(Shape, tag_field="role", tag="system"):
    content: Texts
    name: str | UnsetType = UNSET


class DeveloperMessage(Shape, tag_field="role", tag="developer"):
    content: Texts
    name: str | UnsetType = UNSET


class UserMessage(Shape, tag_field="role", tag="user"):
    content: str | UserParts
    name: str | UnsetType = UNSET


class CalledFunction(Shape):
    name: Name
    arguments: str


class FunctionCall(Shape, tag_field="type", tag="function"):
    id: Annotated[str, Meta(min_length=1, max_length=40)]
    function: CalledFunction


class CalledCustom(Shape):
    name: Name
    input: str


class CustomCall(Shape, tag_field="type", tag="custom"):
    id: Annotated[str, Meta(min_length=1, max_length=40)]
    custom: CalledCustom


class AudioId(Shape):
    id: str


class AssistantMessage(Shape, tag_field="role", tag="assistant"):
    content: str | list[TextPart | RefusalPart] | UnsetType | None = UNSET
    name: str | UnsetType = UNSET
    refusal: str | UnsetType | None = UNSET
    tool_calls: Annotated[list[FunctionCall | CustomCall], Meta(min_length=1)] | UnsetType = UNSET
    function_call: CalledFunction | UnsetType | None = UNSET
    audio: AudioId | UnsetType | None = UNSET
    # Not in the types, but taken: clients send back the messages that they got.
    annotations: list[dict[str, Any]] | UnsetType = UNSET


class ToolMessage(Shape, tag_field="role", tag="tool"):
    content: Texts
    tool_call_id: str


class FunctionMessage(Shape, tag_field="role", tag="function"):
    content: str | None
    name: str


Message = (
    SystemMessage
    | DeveloperMessage
    | UserMessage
    | AssistantMessage
    | ToolMessage
    | FunctionMessage
)


class FunctionDefinition(Shape):
    name: Name
    description: str | UnsetType = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET
    strict: bool | UnsetType | None = UNSET


class FunctionTool(Shape, tag_field="type", tag="function"):
    function: FunctionDefinition


class CustomDefinition(Shape):
    name: Name
    description: str | UnsetType = UNSET
    format: dict[str, Any] | UnsetType = UNSET


class CustomTool(Shape, tag_field="type", tag="custom"):
    custom: CustomDefinition


class NameOnly(Shape):
    name: Name


class ChosenFunction(Shape, tag_field="type", tag="function"):
    function: NameOnly


class ChosenCustom(Shape, tag_field="type", tag="custom"):
    custom: NameOnly


class Allowed(Shape):
    mode: Literal["auto", "required"]
    tools: Annotated[list[ChosenFunction | ChosenCustom], Meta(min_length=1)]


class AllowedTools(Shape, tag_field="type", tag="allowed_tools"):
    allowed_tools: Allowed


class LegacyFunction(Shape):
    name: Name
    description: str | UnsetType = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET


class JSONSchema(Shape):
    name: Name
    description: str | UnsetType = UNSET
    schema: dict[str, Any] | UnsetType = UNSET
    strict: bool | UnsetType | None = UNSET


class TextFormat(Shape, tag_field="type", tag="text"):
    pass


class ObjectFormat(Shape, tag_field="type", tag="json_object"):
    pass


class SchemaFormat(Shape, tag_field="type", tag="json_schema"):
    json_schema: JSONSchema


class StreamOptions(Shape):
    include_usage: bool | UnsetType = UNSET
    include_obfuscation: bool | UnsetType = UNSET


class Location(Shape):
    type: Literal["approximate"]
    approximate: dict[str, str]


class WebSearchOptions(Shape):
    search_context_size: Literal["low", "medium", "high"] | UnsetType = UNSET
    user_location: Location | UnsetType | None = UNSET


class Prediction(Shape):
    type: Literal["content"]
    content: Texts


class CacheOptions(Shape):
    mode: Literal["implicit", "explicit"] | UnsetType = UNSET
    ttl: Literal["30m"] | UnsetType = UNSET


class Request(Shape):
    model: str
    messages: Annotated[list[Message], Meta(min_length=1)]
    audio: dict[str, Any] | UnsetType | None = UNSET
    frequency_penalty: Penalty | UnsetType | None = UNSET
    function_call: Literal["none", "auto"] | NameOnly | UnsetType = UNSET
    functions: list[LegacyFunction] | UnsetType = UNSET
    logit_bias: dict[str, int] | UnsetType | None = UNSET
    logprobs: bool | UnsetType | None = UNSET
    max_completion_tokens: Positive | UnsetType | None = UNSET
    max_tokens: Positive | UnsetType | None = UNSET
    metadata: dict[str, str] | UnsetType | None = UNSET
    modalities: list[Literal["text", "audio"]] | UnsetType | None = UNSET
    moderation: dict[str, Any] | UnsetType | None = UNSET
    n: Annotated[int, Meta(ge=1, le=128)] | UnsetType | None = UNSET
    parallel_tool_calls: bool | UnsetType = UNSET
    prediction: Prediction | UnsetType | None = UNSET
    presence_penalty: Penalty | UnsetType | None = UNSET
    prompt_cache_key: str | UnsetType | None = UNSET
    prompt_cache_options: CacheOptions | UnsetType = UNSET
    prompt_cache_retention: Literal["in_memory", "24h"] | UnsetType | None = UNSET
    reasoning_effort: (
        Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | UnsetType | None
    ) = UNSET
    response_format: TextFormat | ObjectFormat | SchemaFormat | UnsetType = UNSET
    safety_identifier: Annotated[str, Meta(max_length=128)] | UnsetType | None = UNSET
    seed: int | UnsetType | None = UNSET
    service_tier: (
        Literal["auto", "default", "flex", "scale", "priority", "fast"] | UnsetType | None
    ) = UNSET
    stop: str | Annotated[list[str], Meta(max_length=4)] | UnsetType | None = UNSET
    store: bool | UnsetType | None = UNSET
    stream: bool | UnsetType | None = UNSET
    stream_options: StreamOptions | UnsetType | None = UNSET
    temperature: Annotated[float, Meta(ge=0, le=2)] | UnsetType | None = UNSET
    tool_choice: (
        Literal["none", "auto", "required"]
        | ChosenFunction
        | ChosenCustom
        | AllowedTools
        | UnsetType
    ) = UNSET
    tools: list[FunctionTool | CustomTool] | UnsetType = UNSET
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | UnsetType | None = UNSET
    top_p: Annotated[float, Meta(ge=0, le=1)] | UnsetType | None = UNSET
    user: str | UnsetType = UNSET
    verbosity: Literal["low", "medium", "high"] | UnsetType | None = UNSET
    web_search_options: WebSearchOptions | UnsetType = UNSET

"""What a request to Responses may hold: every member, and nothing else.

Source: openai.types.responses (the `…Param` types of the SDK); `tests/unit/strict` compares them.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from tests.support.strict.body import Shape
from tests.support.strict.chat.shapes import Breakpoint, CacheOptions, Name

Status = Literal["in_progress", "completed", "incomplete"]
CallId = Annotated[str, Meta(min_length=1, max_length=64)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


def item_id(prefix: str) -> Any:
    """The type of an item's own id."""
    return Annotated[str, Meta(pattern=f"^{prefix}_", max_length=64)]


class InputText(Shape, tag_field="type", tag="input_text"):
    text: str
    prompt_cache_breakpoint: Breakpoint | UnsetType | None = UNSET


class InputImage(Shape, tag_field="type", tag="input_image"):
    detail: Literal["low", "high", "auto", "original"] | UnsetType | None = UNSET
    file_id: str | UnsetType | None = UNSET
    image_url: str | UnsetType | None = UNSET
    prompt_cache_breakpoint: Breakpoint | UnsetType | None = UNSET


class InputFile(Shape, tag_field="type", tag="input_file"):
    detail: Literal["auto", "low", "high"] | UnsetType = UNSET
    file_data: str | UnsetType = UNSET
    file_id: str | UnsetType | None = UNSET
    file_url: str | UnsetType = UNSET
    filename: str | UnsetType = UNSET
    prompt_cache_breakpoint: Breakpoint | UnsetType | None = UNSET


class Sound(Shape):
    data: str
    format: Literal["mp3", "wav"]


class InputAudio(Shape, tag_field="type", tag="input_audio"):
    input_audio: Sound


class OutputText(Shape, tag_field="type", tag="output_text"):
    text: str
    annotations: list[dict[str, Any]] | UnsetType = UNSET
    logprobs: list[dict[str, Any]] | UnsetType | None = UNSET


class OutputRefusal(Shape, tag_field="type", tag="refusal"):
    refusal: str


InputParts = list[InputText | InputImage | InputFile | InputAudio]
OutputParts = list[OutputText | OutputRefusal]


class InputMessage(Shape):
    role: Literal["user", "system", "developer"]
    content: str | InputParts
    type: Literal["message"] | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    phase: Literal["commentary", "final_answer"] | UnsetType | None = UNSET


class OutputMessage(Shape):
    role: Literal["assistant"]
    content: str | OutputParts
    type: Literal["message"] | UnsetType = UNSET
    id: item_id("msg") | UnsetType = UNSET  # type: ignore[valid-type]  # msgspec reads it
    status: Status | UnsetType = UNSET
    phase: Literal["commentary", "final_answer"] | UnsetType | None = UNSET


class FunctionCall(Shape):
    type: Literal["function_call"]
    arguments: str
    call_id: CallId
    name: Name
    id: item_id("fc") | UnsetType = UNSET  # type: ignore[valid-type]  # msgspec reads it
    namespace: str | UnsetType = UNSET
    status: Status | UnsetType = UNSET


class FunctionCallOutput(Shape):
    type: Literal["function_call_output"]
    call_id: CallId
    output: str | list[InputText | InputImage | InputFile]
    id: item_id("fco") | UnsetType | None = UNSET  # type: ignore[valid-type]  # msgspec reads it
    status: Status | UnsetType | None = UNSET


class CustomCall(Shape):
    type: Literal["custom_tool_call"]
    call_id: CallId
    input: str
    name: Name
    id: item_id("ctc") | UnsetType = UNSET  # type: ignore[valid-type]  # msgspec reads it
    namespace: str | UnsetType = UNSET
    status: Status | UnsetType = UNSET


class CustomCallOutput(Shape):
    type: Literal["custom_tool_call_output"]
    call_id: CallId
    output: str | list[InputText | InputImage | InputFile]
    id: item_id("ctco") | UnsetType = UNSET  # type: ignore[valid-type]  # msgspec reads it


class SummaryText(Shape, tag_field="type", tag="summary_text"):
    text: str


class ReasoningText(Shape, tag_field="type", tag="reasoning_text"):
    text: str


class ReasoningItem(Shape):
    type: Literal["reasoning"]
    summary: list[SummaryText]
    id: item_id("rs") | UnsetType = UNSET  # type: ignore[valid-type]  # msgspec reads it
    content: list[ReasoningText] | UnsetType = UNSET
    encrypted_content: str | UnsetType | None = UNSET
    status: Status | UnsetType | None = UNSET


Item = (
    InputMessage
    | OutputMessage
    | FunctionCall
    | FunctionCallOutput
    | CustomCall
    | CustomCallOutput
    | ReasoningItem
)

ITEMS: dict[str, type[Item]] = {
    "function_call": FunctionCall,
    "function_call_output": FunctionCallOutput,
    "custom_tool_call": CustomCall,
    "custom_tool_call_output": CustomCallOutput,
    "reasoning": ReasoningItem,
}


class FunctionTool(Shape, tag_field="type", tag="function"):
    name: Name
    parameters: dict[str, Any] | None
    description: str | UnsetType | None = UNSET
    strict: bool | UnsetType | None = UNSET
    defer_loading: bool | UnsetType = UNSET
    output_schema: dict[str, Any] | UnsetType | None = UNSET
    allowed_callers: list[Literal["direct", "programmatic"]] | UnsetType | None = UNSET


class CustomTool(Shape, tag_field="type", tag="custom"):
    name: Name
    description: str | UnsetType = UNSET
    format: dict[str, Any] | UnsetType = UNSET
    defer_loading: bool | UnsetType = UNSET
    allowed_callers: list[Literal["direct", "programmatic"]] | UnsetType | None = UNSET


class Namespace(Shape, tag_field="type", tag="namespace"):
    name: str
    description: str
    tools: list[FunctionTool | CustomTool]


class Filters(Shape):
    allowed_domains: list[str] | UnsetType | None = UNSET
    blocked_domains: list[str] | UnsetType | None = UNSET


class WebSearch(Shape, tag_field="type", tag="web_search"):
    external_web_access: bool | UnsetType = UNSET
    filters: Filters | UnsetType | None = UNSET
    search_context_size: Literal["low", "medium", "high"] | UnsetType = UNSET
    user_location: dict[str, Any] | UnsetType | None = UNSET


class FileSearch(Shape, tag_field="type", tag="file_search"):
    vector_store_ids: list[str]


class CodeInterpreter(Shape, tag_field="type", tag="code_interpreter"):
    container: str | dict[str, Any]


Tool = FunctionTool | CustomTool | Namespace | WebSearch | FileSearch | CodeInterpreter


class ChosenFunction(Shape, tag_field="type", tag="function"):
    name: Name


class ChosenCustom(Shape, tag_field="type", tag="custom"):
    name: Name


class ChosenHosted(Shape, tag_field="type", tag="web_search"):
    pass


class AllowedTools(Shape, tag_field="type", tag="allowed_tools"):
    mode: Literal["auto", "required"]
    tools: Annotated[list[ChosenFunction | ChosenCustom], Meta(min_length=1)]


class Reasoning(Shape):
    effort: Effort | UnsetType | None = UNSET
    summary: Literal["auto", "concise", "detailed"] | UnsetType | None = UNSET
    generate_summary: Literal["auto", "concise", "detailed"] | UnsetType | None = UNSET
    context: Literal["auto", "current_turn", "all_turns"] | UnsetType | None = UNSET
    mode: Literal["standard", "pro"] | UnsetType = UNSET


class TextFormat(Shape, tag_field="type", tag="text"):
    pass


class ObjectFormat(Shape, tag_field="type", tag="json_object"):
    pass


class SchemaFormat(Shape, tag_field="type", tag="json_schema"):
    name: Name
    schema: dict[str, Any]
    description: str | UnsetType = UNSET
    strict: bool | UnsetType | None = UNSET


class TextConfig(Shape):
    format: TextFormat | ObjectFormat | SchemaFormat | UnsetType = UNSET
    verbosity: Literal["low", "medium", "high"] | UnsetType | None = UNSET


class StreamOptions(Shape):
    include_obfuscation: bool | UnsetType = UNSET


Include = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]


class Request(Shape):
    model: str
    input: str | list[dict[str, Any]]
    access_programs: dict[str, Any] | UnsetType = UNSET
    background: bool | UnsetType | None = UNSET
    background_options: dict[str, Any] | UnsetType = UNSET
    context_management: list[dict[str, Any]] | UnsetType | None = UNSET
    conversation: str | dict[str, Any] | UnsetType | None = UNSET
    image: dict[str, Any] | UnsetType = UNSET
    include: list[Include] | UnsetType | None = UNSET
    instructions: str | UnsetType | None = UNSET
    max_output_tokens: Annotated[int, Meta(ge=16)] | UnsetType | None = UNSET
    max_tool_calls: int | UnsetType | None = UNSET
    metadata: dict[str, str] | UnsetType | None = UNSET
    moderation: dict[str, Any] | UnsetType | None = UNSET
    parallel_tool_calls: bool | UnsetType | None = UNSET
    previous_response_id: str | UnsetType | None = UNSET
    prompt: dict[str, Any] | UnsetType | None = UNSET
    prompt_cache_key: str | UnsetType | None = UNSET
    prompt_cache_options: CacheOptions | UnsetType = UNSET
    prompt_cache_retention: Literal["in_memory", "24h"] | UnsetType | None = UNSET
    reasoning: Reasoning | UnsetType | None = UNSET
    safety_identifier: Annotated[str, Meta(max_length=128)] | UnsetType | None = UNSET
    service_tier: (
        Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"]
        | UnsetType
        | None
    ) = UNSET
    store: bool | UnsetType | None = UNSET
    stream: bool | UnsetType | None = UNSET
    stream_options: StreamOptions | UnsetType | None = UNSET
    temperature: Annotated[float, Meta(ge=0, le=2)] | UnsetType | None = UNSET
    text: TextConfig | UnsetType = UNSET
    tool_choice: (
        Literal["none", "auto", "required"]
        | ChosenFunction
        | ChosenCustom
        | ChosenHosted
        | AllowedTools
        | UnsetType
    ) = UNSET
    tools: list[Tool] | UnsetType = UNSET
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | UnsetType | None = UNSET
    top_p: Annotated[float, Meta(ge=0, le=1)] | UnsetType | None = UNSET
    truncation: Literal["auto", "disabled"] | UnsetType | None = UNSET
    user: str | UnsetType = UNSET

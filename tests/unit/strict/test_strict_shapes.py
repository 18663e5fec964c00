"""The strict providers take the members that the SDKs' types have, and no others."""

from typing import Any

import msgspec
import pytest
import typing_extensions
from anthropic import types as anthropic_types
from google.genai import types as google_types
from openai.types import chat as chat_types
from openai.types import responses as responses_types
from openai.types import shared_params
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params, response_input_item_param

from tests.support.strict.anthropic import shapes as anthropic
from tests.support.strict.body import Shape
from tests.support.strict.chat import shapes as chat
from tests.support.strict.google import shapes as google
from tests.support.strict.responses import shapes as responses


def _taken(shape: type[Shape]) -> set[str]:
    """The members of a shape, its tag among them."""
    tag = shape.__struct_config__.tag_field
    return {field.encode_name for field in msgspec.structs.fields(shape)} | (
        {tag} if tag else set()
    )


def _typed(kind: Any) -> set[str]:
    """The members of a TypedDict, or of a model of Google's under the names on the wire."""
    if hasattr(kind, "model_fields"):
        return {field.alias or name for name, field in kind.model_fields.items()}
    return set(typing_extensions.get_type_hints(kind))


SAME: list[tuple[type[Shape], Any]] = [
    (chat.TextPart, chat_types.ChatCompletionContentPartTextParam),
    (chat.ImagePart, chat_types.ChatCompletionContentPartImageParam),
    (chat.AudioPart, chat_types.ChatCompletionContentPartInputAudioParam),
    (chat.RefusalPart, chat_types.ChatCompletionContentPartRefusalParam),
    (chat.SystemMessage, chat_types.ChatCompletionSystemMessageParam),
    (chat.DeveloperMessage, chat_types.ChatCompletionDeveloperMessageParam),
    (chat.UserMessage, chat_types.ChatCompletionUserMessageParam),
    (chat.ToolMessage, chat_types.ChatCompletionToolMessageParam),
    (chat.FunctionMessage, chat_types.ChatCompletionFunctionMessageParam),
    (chat.FunctionCall, chat_types.ChatCompletionMessageFunctionToolCallParam),
    (chat.FunctionTool, chat_types.ChatCompletionFunctionToolParam),
    (chat.FunctionDefinition, shared_params.FunctionDefinition),
    (chat.StreamOptions, chat_types.ChatCompletionStreamOptionsParam),
    (chat.WebSearchOptions, completion_create_params.WebSearchOptions),
    (chat.Prediction, chat_types.ChatCompletionPredictionContentParam),
    (responses.InputText, responses_types.ResponseInputTextParam),
    (responses.InputImage, responses_types.ResponseInputImageParam),
    (responses.InputFile, responses_types.ResponseInputFileParam),
    (responses.InputAudio, responses_types.ResponseInputAudioParam),
    (responses.OutputText, responses_types.ResponseOutputTextParam),
    (responses.OutputMessage, responses_types.ResponseOutputMessageParam),
    (responses.ReasoningItem, responses_types.ResponseReasoningItemParam),
    (responses.Reasoning, shared_params.Reasoning),
    (responses.TextConfig, responses_types.ResponseTextConfigParam),
    (responses.SchemaFormat, responses_types.ResponseFormatTextJSONSchemaConfigParam),
    (responses.ChosenFunction, responses_types.ToolChoiceFunctionParam),
    (responses.AllowedTools, responses_types.ToolChoiceAllowedParam),
    (responses.Request, response_create_params.ResponseCreateParamsStreaming),
    (anthropic.Text, anthropic_types.TextBlockParam),
    (anthropic.Image, anthropic_types.ImageBlockParam),
    (anthropic.Document, anthropic_types.DocumentBlockParam),
    (anthropic.SearchResult, anthropic_types.SearchResultBlockParam),
    (anthropic.ToolUse, anthropic_types.ToolUseBlockParam),
    (anthropic.ToolResult, anthropic_types.ToolResultBlockParam),
    (anthropic.Thinking, anthropic_types.ThinkingBlockParam),
    (anthropic.RedactedThinking, anthropic_types.RedactedThinkingBlockParam),
    (anthropic.Tool, anthropic_types.ToolParam),
    (anthropic.WebSearch, anthropic_types.WebSearchTool20250305Param),
    (anthropic.Enabled, anthropic_types.ThinkingConfigEnabledParam),
    (anthropic.Adaptive, anthropic_types.ThinkingConfigAdaptiveParam),
    (anthropic.OutputConfig, anthropic_types.OutputConfigParam),
    (anthropic.CacheControl, anthropic_types.CacheControlEphemeralParam),
    (google.FileData, google_types.FileData),
    (google.Blob, google_types.Blob),
    (google.FunctionResponse, google_types.FunctionResponse),
    (google.FunctionDeclaration, google_types.FunctionDeclaration),
    (google.ThinkingConfig, google_types.ThinkingConfig),
    (google.ToolConfig, google_types.ToolConfig),
]


@pytest.mark.parametrize(
    ("shape", "kind"),
    [pytest.param(*pair, id=f"{pair[0].__module__}.{pair[0].__name__}") for pair in SAME],
)
def test_a_shape_has_the_members_of_its_type(shape: type[Shape], kind: Any) -> None:
    assert _taken(shape) == _typed(kind)


# What the types have and the service refuses, or what is not in the types and taken.
REFUSED: list[tuple[type[Shape], Any, set[str]]] = [
    # Calls of code that OpenAI runs itself.
    (responses.FunctionTool, responses_types.FunctionToolParam, {"async"}),
    (responses.CustomTool, responses_types.CustomToolParam, {"async"}),
    (responses.FunctionCall, responses_types.ResponseFunctionToolCallParam, {"async", "caller"}),
    (
        responses.FunctionCallOutput,
        response_input_item_param.FunctionCallOutput,
        {"caller", "name", "namespace"},
    ),
    # Not in the API, or only on Vertex.
    (google.FunctionCall, google_types.FunctionCall, {"partialArgs", "willContinue"}),
    (
        google.FunctionCallingConfig,
        google_types.FunctionCallingConfig,
        {"streamFunctionCallArguments"},
    ),
    (google.Schema, google_types.Schema, {"additionalProperties", "defs", "ref"}),
    (google.SafetySetting, google_types.SafetySetting, {"method"}),
]


@pytest.mark.parametrize(
    ("shape", "kind", "refused"),
    [pytest.param(*case, id=f"{case[0].__module__}.{case[0].__name__}") for case in REFUSED],
)
def test_a_shape_has_the_members_of_its_type_but_for_a_few(
    shape: type[Shape], kind: Any, refused: set[str]
) -> None:
    assert _taken(shape) == _typed(kind) - refused


def test_a_chat_request_has_the_members_of_its_type() -> None:
    kind = completion_create_params.CompletionCreateParamsStreaming
    assert _taken(chat.Request) == _typed(kind)


def test_an_assistants_message_may_come_back_with_what_it_was_sent_with() -> None:
    typed = _typed(chat_types.ChatCompletionAssistantMessageParam)
    assert _taken(chat.AssistantMessage) == typed | {"annotations"}


def test_an_anthropic_request_has_the_members_of_its_type_and_the_sampling_of_older_ones() -> None:
    typed = _typed(anthropic_types.message_create_params.MessageCreateParamsStreaming)
    headers = {"user_profile_id", "workspace_id"}  # the SDK sends these as headers
    assert _taken(anthropic.Request) == (typed - headers) | {"temperature", "top_p", "top_k"}


def test_a_google_part_knows_no_member_that_the_sdk_does_not() -> None:
    for shape, kind in (
        (google.Part, google_types.Part),
        (google.Content, google_types.Content),
        (google.Tool, google_types.Tool),
        (google.GenerationConfig, google_types.GenerationConfig),
    ):
        of_the_api = {"imageConfig"}  # the SDK has it one level up
        assert _taken(shape) - of_the_api <= _typed(kind)

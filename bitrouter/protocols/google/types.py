"""The parts of Gemini's JSON that are read with types, in requests and in answers.

Every member may be null, and have either of two spellings: what is read is under the first name.
Source: protocols.md, 1.4; google-genai's `types`.
"""

from typing import Final

import msgspec

from bitrouter.envelope import Fields
from bitrouter.protocols.google.members import camel_case
from bitrouter.protocols.google.usage import UsageHolder

NO_JSON: Final = msgspec.Raw()  # a member that is not there
_SNAKE: Final = "_snake"


def _spelled(name: str) -> str:
    """Each member in camelCase, and once more as `..._snake` in snake_case."""
    return name.removesuffix(_SNAKE) if name.endswith(_SNAKE) else camel_case(name)


class Blob(msgspec.Struct, rename=_spelled):
    """`inlineData`: bytes in base64."""

    data: str | None = None
    display_name: str | None = None
    display_name_snake: str | None = None
    mime_type: str | None = None
    mime_type_snake: str | None = None

    def __post_init__(self) -> None:
        self.mime_type = self.mime_type or self.mime_type_snake
        self.display_name = self.display_name or self.display_name_snake


class FileData(msgspec.Struct, rename=_spelled):
    """`fileData`: a file by its address."""

    file_uri: str | None = None
    file_uri_snake: str | None = None
    mime_type: str | None = None
    mime_type_snake: str | None = None

    def __post_init__(self) -> None:
        self.file_uri = self.file_uri or self.file_uri_snake
        self.mime_type = self.mime_type or self.mime_type_snake


class FunctionCall(msgspec.Struct):
    """`functionCall`. `args` is an object, null or absent."""

    id: str | None = None
    name: str | None = None
    args: msgspec.Raw = NO_JSON


class FunctionResponse(msgspec.Struct):
    """`functionResponse`. `parts` are the media beside the object that is the response."""

    id: str | None = None
    name: str | None = None
    response: msgspec.Raw = NO_JSON
    parts: "list[Part] | None" = None


class Part(msgspec.Struct, rename=_spelled):
    """A part: one of its kinds of content, and what is said of it. Not all kinds are known."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    thought_signature_snake: str | None = None
    inline_data: Blob | None = None
    inline_data_snake: Blob | None = None
    file_data: FileData | None = None
    file_data_snake: FileData | None = None
    function_call: FunctionCall | None = None
    function_call_snake: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    function_response_snake: FunctionResponse | None = None

    def __post_init__(self) -> None:
        self.thought_signature = self.thought_signature or self.thought_signature_snake
        if self.text is None:
            self.inline_data = self.inline_data or self.inline_data_snake
            self.file_data = self.file_data or self.file_data_snake
            self.function_call = self.function_call or self.function_call_snake
            self.function_response = self.function_response or self.function_response_snake


class ClientPart(Part, rename=_spelled):
    """A part of a request, with what has no place in the neutral form: it is announced."""

    executable_code: Fields | None = None
    executable_code_snake: Fields | None = None
    code_execution_result: Fields | None = None
    code_execution_result_snake: Fields | None = None
    tool_call: Fields | None = None
    tool_call_snake: Fields | None = None
    tool_response: Fields | None = None
    tool_response_snake: Fields | None = None
    video_metadata: Fields | None = None
    video_metadata_snake: Fields | None = None
    media_resolution: Fields | None = None
    media_resolution_snake: Fields | None = None


class ClientContent(msgspec.Struct):
    """A turn of a client's, or its system instruction."""

    role: str | None = None
    parts: list[ClientPart] | None = None


class FunctionDeclaration(msgspec.Struct, rename=_spelled):
    """One of `functionDeclarations`. `parameters` is Google's Schema, the other JSON Schema."""

    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = NO_JSON
    parameters_json_schema: msgspec.Raw = NO_JSON
    parameters_json_schema_snake: msgspec.Raw = NO_JSON
    response: msgspec.Raw = NO_JSON
    response_json_schema: msgspec.Raw = NO_JSON
    response_json_schema_snake: msgspec.Raw = NO_JSON
    behavior: str | None = None


# -- answers --------------------------------------------------------------------------------


class Content(msgspec.Struct):
    """What a candidate has said."""

    parts: list[Part] | None = None


class WebSource(msgspec.Struct):
    """The page that a grounding chunk is."""

    uri: str | None = None
    title: str | None = None


class GroundingChunk(msgspec.Struct):
    """Something that an answer rests on; only web pages are of interest."""

    web: WebSource | None = None


class Segment(msgspec.Struct, rename="camel"):
    """A piece of an answer's text. The indices count bytes of UTF-8."""

    start_index: int | None = None
    end_index: int | None = None
    text: str | None = None


class GroundingSupport(msgspec.Struct, rename="camel"):
    """Which chunks a segment rests on."""

    segment: Segment | None = None
    grounding_chunk_indices: list[int] | None = None


class GroundingMetadata(msgspec.Struct, rename="camel"):
    """Where an answer comes from."""

    grounding_chunks: list[GroundingChunk] | None = None
    grounding_supports: list[GroundingSupport] | None = None


class TokenProbability(msgspec.Struct, rename="camel"):
    """One token that was chosen, or could have been."""

    token: str | None = None
    log_probability: float | None = None


class TopTokens(msgspec.Struct):
    """The likeliest tokens at one place."""

    candidates: list[TokenProbability] | None = None


class LogprobsResult(msgspec.Struct, rename="camel"):
    """`chosenCandidates` and `topCandidates` go side by side."""

    chosen_candidates: list[TokenProbability] | None = None
    top_candidates: list[TopTokens] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    """One answer, or what a stream's element adds to it."""

    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int | None = None
    grounding_metadata: GroundingMetadata | None = None
    logprobs_result: LogprobsResult | None = None


class PromptFeedback(msgspec.Struct, rename="camel"):
    """Why a prompt was blocked."""

    block_reason: str | None = None
    block_reason_message: str | None = None


class GenerateResponse(UsageHolder, rename="camel"):
    """A GenerateContentResponse: a whole answer, or an element of a stream. Or an error."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: msgspec.Raw = NO_JSON

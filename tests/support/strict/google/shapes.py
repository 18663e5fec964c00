"""What a request to generateContent may hold: every member, and nothing else.

Source: google.genai.types; `tests/unit/strict` compares them. Members that the Gemini API does not
take from anybody (Vertex has them) are left out.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from tests.support.strict.body import Shape

FunctionName = Annotated[str, Meta(pattern=r"^[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}$")]
SchemaType = Literal[
    "STRING",
    "NUMBER",
    "INTEGER",
    "BOOLEAN",
    "ARRAY",
    "OBJECT",
    "NULL",
    "string",
    "number",
    "integer",
    "boolean",
    "array",
    "object",
    "null",
]


class Schema(Shape):
    """An OpenAPI 3.0 subset (protocols.md, 2.6): an unknown keyword is an unknown member."""

    type: SchemaType | UnsetType = UNSET
    format: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    nullable: bool | UnsetType = UNSET
    enum: list[str] | UnsetType = UNSET
    maxItems: int | str | UnsetType = UNSET
    minItems: int | str | UnsetType = UNSET
    properties: "dict[str, Schema] | UnsetType" = UNSET
    required: list[str] | UnsetType = UNSET
    minProperties: int | str | UnsetType = UNSET
    maxProperties: int | str | UnsetType = UNSET
    minLength: int | str | UnsetType = UNSET
    maxLength: int | str | UnsetType = UNSET
    pattern: str | UnsetType = UNSET
    example: Any = UNSET
    anyOf: "list[Schema] | UnsetType" = UNSET
    propertyOrdering: list[str] | UnsetType = UNSET
    default: Any = UNSET
    minimum: float | UnsetType = UNSET
    maximum: float | UnsetType = UNSET
    items: "Schema | UnsetType" = UNSET


class Blob(Shape):
    mimeType: str
    data: str
    displayName: str | UnsetType = UNSET


class FileData(Shape):
    fileUri: str
    mimeType: str | UnsetType = UNSET
    displayName: str | UnsetType = UNSET


class FunctionCall(Shape):
    name: FunctionName
    args: dict[str, Any] | UnsetType = UNSET
    id: str | UnsetType = UNSET


class FunctionResponsePart(Shape):
    inlineData: Blob | UnsetType = UNSET
    fileData: FileData | UnsetType = UNSET


class FunctionResponse(Shape):
    name: FunctionName
    response: dict[str, Any]
    id: str | UnsetType = UNSET
    parts: list[FunctionResponsePart] | UnsetType = UNSET
    willContinue: bool | UnsetType = UNSET
    scheduling: str | UnsetType = UNSET


class Part(Shape):
    text: str | UnsetType = UNSET
    inlineData: Blob | UnsetType = UNSET
    fileData: FileData | UnsetType = UNSET
    functionCall: FunctionCall | UnsetType = UNSET
    functionResponse: FunctionResponse | UnsetType = UNSET
    executableCode: dict[str, Any] | UnsetType = UNSET
    codeExecutionResult: dict[str, Any] | UnsetType = UNSET
    thought: bool | UnsetType = UNSET
    thoughtSignature: str | UnsetType = UNSET
    videoMetadata: dict[str, Any] | UnsetType = UNSET
    mediaResolution: dict[str, Any] | UnsetType = UNSET
    partMetadata: dict[str, Any] | UnsetType = UNSET


class Content(Shape):
    parts: list[Part] | UnsetType = UNSET
    role: Literal["user", "model", "function", "tool"] | UnsetType = UNSET


class SystemInstruction(Shape):
    parts: Annotated[list[Part], Meta(min_length=1)]
    role: str | UnsetType = UNSET


class FunctionDeclaration(Shape):
    name: FunctionName
    description: str | UnsetType = UNSET
    parameters: Schema | UnsetType = UNSET
    parametersJsonSchema: dict[str, Any] | UnsetType = UNSET
    response: dict[str, Any] | UnsetType = UNSET
    responseJsonSchema: dict[str, Any] | UnsetType = UNSET
    behavior: str | UnsetType = UNSET


class Tool(Shape):
    functionDeclarations: list[FunctionDeclaration] | UnsetType = UNSET
    googleSearch: dict[str, Any] | UnsetType = UNSET
    googleSearchRetrieval: dict[str, Any] | UnsetType = UNSET
    codeExecution: dict[str, Any] | UnsetType = UNSET
    urlContext: dict[str, Any] | UnsetType = UNSET
    googleMaps: dict[str, Any] | UnsetType = UNSET
    fileSearch: dict[str, Any] | UnsetType = UNSET
    computerUse: dict[str, Any] | UnsetType = UNSET
    mcpServers: list[dict[str, Any]] | UnsetType = UNSET


class FunctionCallingConfig(Shape):
    mode: Literal["AUTO", "ANY", "NONE", "VALIDATED", "MODE_UNSPECIFIED"] | UnsetType = UNSET
    allowedFunctionNames: list[str] | UnsetType = UNSET


class ToolConfig(Shape):
    functionCallingConfig: FunctionCallingConfig | UnsetType = UNSET
    retrievalConfig: dict[str, Any] | UnsetType = UNSET
    includeServerSideToolInvocations: bool | UnsetType = UNSET


class ThinkingConfig(Shape):
    includeThoughts: bool | UnsetType = UNSET
    thinkingBudget: Annotated[int, Meta(ge=-1)] | UnsetType = UNSET
    thinkingLevel: Literal["MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"] | UnsetType = UNSET


class GenerationConfig(Shape):
    temperature: Annotated[float, Meta(ge=0, le=2)] | UnsetType = UNSET
    topP: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    topK: Annotated[float, Meta(ge=1)] | UnsetType = UNSET
    candidateCount: Annotated[int, Meta(ge=1, le=8)] | UnsetType = UNSET
    maxOutputTokens: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    stopSequences: Annotated[list[str], Meta(max_length=5)] | UnsetType = UNSET
    seed: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | UnsetType = UNSET
    presencePenalty: Annotated[float, Meta(ge=-2, lt=2)] | UnsetType = UNSET
    frequencyPenalty: Annotated[float, Meta(ge=-2, lt=2)] | UnsetType = UNSET
    responseLogprobs: bool | UnsetType = UNSET
    logprobs: Annotated[int, Meta(ge=0, le=20)] | UnsetType = UNSET
    responseMimeType: Literal["text/plain", "application/json", "text/x.enum"] | UnsetType = UNSET
    responseSchema: Schema | UnsetType = UNSET
    responseJsonSchema: dict[str, Any] | UnsetType = UNSET
    responseModalities: list[Literal["TEXT", "IMAGE", "AUDIO"]] | UnsetType = UNSET
    speechConfig: dict[str, Any] | UnsetType = UNSET
    mediaResolution: str | UnsetType = UNSET
    thinkingConfig: ThinkingConfig | UnsetType = UNSET
    imageConfig: dict[str, Any] | UnsetType = UNSET
    enableEnhancedCivicAnswers: bool | UnsetType = UNSET


class SafetySetting(Shape):
    category: str
    threshold: str


class Request(Shape):
    contents: Annotated[list[Content], Meta(min_length=1)]
    systemInstruction: SystemInstruction | UnsetType = UNSET
    tools: list[Tool] | UnsetType = UNSET
    toolConfig: ToolConfig | UnsetType = UNSET
    generationConfig: GenerationConfig | UnsetType = UNSET
    safetySettings: list[SafetySetting] | UnsetType = UNSET
    cachedContent: str | UnsetType = UNSET
    serviceTier: str | UnsetType = UNSET
    store: bool | UnsetType = UNSET
    continuationToken: str | UnsetType = UNSET

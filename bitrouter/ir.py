"""The neutral form: what a request and an answer mean, apart from any protocol's way to say it.

Every protocol is decoded to it and encoded from it, so four protocols need eight halves and not
twelve translators. It holds only what more than one protocol can say; what belongs to one alone
travels untouched between its own client and its own provider.

*Block*: a piece of content. *Origin*: the vendor (a protocol's letter, see `continuity`) that made
something which only it can read again. *Candidate*: one of the answers that `n` asked for.
Source: protocols.md, 2.1 and 2.9.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec


class CacheMark(msgspec.Struct, frozen=True, gc=False):
    """Cache the prompt up to here. `ttl_s` is how long, in seconds; None is the usual time."""

    ttl_s: int | None = None


class Signature(msgspec.Struct, frozen=True, gc=False):
    """Opaque data by which a vendor recognises what it said: thinking signatures, encrypted
    reasoning, thought signatures.

    `value` is as that vendor writes it, and empty where it said something without signing it; `id`
    is the vendor's own id of the item, where it has one. Only `origin` may ever be shown it.
    """

    origin: str
    value: str = ""
    id: str | None = None


class Citation(msgspec.Struct, frozen=True, gc=False):
    """A web page that an answer rests on. `start` and `end` count characters of its text block."""

    url: str
    title: str | None = None
    cited_text: str | None = None
    start: int | None = None
    end: int | None = None


class Text(msgspec.Struct):
    """Plain text."""

    text: str
    cache: CacheMark | None = None
    citations: tuple[Citation, ...] = ()


MediaKind = Literal["image", "document", "audio", "video"]


class Media(msgspec.Struct):
    """An image, a document, a sound or a film, given in exactly one of four ways.

    `data` is base64 in the standard alphabet with padding; `url` is http or https; `file_id` names
    a file that the vendor `origin` keeps; `text` is a plain text document. `media_type` is in lower
    case without parameters, None if nobody said (a URL). `name` is a file name or a title.
    """

    kind: MediaKind
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    text: str | None = None
    origin: str | None = None
    name: str | None = None
    detail: str | None = None
    cache: CacheMark | None = None


class ToolCall(msgspec.Struct):
    """A call that the model made. `arguments` is JSON text of an object, exactly as it was written
    (re-serialising it would break prompt caches), or free text if the tool is `custom`.
    """

    id: str
    name: str
    arguments: str
    custom: bool = False
    signature: Signature | None = None
    cache: CacheMark | None = None


class ToolResult(msgspec.Struct):
    """What a call gave. `name` is the tool's, where the client's protocol says it."""

    call_id: str
    content: "list[Text | Media]"
    is_error: bool = False
    name: str | None = None
    cache: CacheMark | None = None


class Reasoning(msgspec.Struct):
    """The model's thinking. `raw` is the thinking itself, otherwise a summary of it.

    Without text it is thinking that the vendor keeps to itself (`redacted`: Anthropic's
    redacted_thinking), or a carrier for a signature. `signature` None: nobody knows whose it is.
    """

    text: str
    signature: Signature | None = None
    raw: bool = False
    redacted: bool = False


class Refusal(msgspec.Struct):
    """The model's words for why it does not answer."""

    text: str


Block = Text | Media | ToolCall | ToolResult | Reasoning | Refusal
Role = Literal["user", "assistant", "system"]


class Message(msgspec.Struct):
    """One turn. Tool results are blocks of a user's turn, calls and reasoning of an assistant's.

    `system` stands here only between turns; what leads is `Request.system`.
    """

    role: Role
    blocks: list[Block]


# -- what is asked --------------------------------------------------------------------------


class Tool(msgspec.Struct):
    """A function that the model may call, or a free-text tool (`custom`).

    `parameters` is the JSON Schema as the client wrote it, None for none. `format` is the grammar
    of a free-text tool, as OpenAI writes it.
    """

    name: str
    description: str | None = None
    parameters: msgspec.Raw | None = None
    strict: bool | None = None
    custom: bool = False
    format: msgspec.Raw | None = None
    cache: CacheMark | None = None


class WebSearch(msgspec.Struct):
    """The vendor's own search tool, which all vendors have in some form.

    `context_size` is low, medium or high; `allowed_domains` limits where to look.
    """

    context_size: str | None = None
    allowed_domains: tuple[str, ...] = ()


class ToolChoice(msgspec.Struct, frozen=True):
    """Whether a tool is called, and out of which: all of them if `names` is empty."""

    mode: Literal["auto", "required", "none"]
    names: tuple[str, ...] = ()


Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Thinking(msgspec.Struct, frozen=True):
    """How much to reason. At most one of `effort` and `budget_tokens` need be known.

    `effort` "none" switches it off; `budget_tokens` -1 and `adaptive` leave it to the model;
    `visible` says whether the client wants to see it, None if it did not say.
    """

    effort: Effort | None = None
    budget_tokens: int | None = None
    adaptive: bool = False
    visible: bool | None = None


class OutputFormat(msgspec.Struct, frozen=True):
    """The form of the answer: any JSON object (`schema` None), or one that a schema describes."""

    schema: msgspec.Raw | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class Request(msgspec.Struct):
    """A request to generate. None and empty mean: the client did not say.

    `hosted_tools` are the vendor's own tools, by name, that the neutral form does not know.
    `family_fields` are members that belong to all protocols of one vendor, `origin`, and go on
    between them as they are. `dropped` are the client's own names of what the neutral form does not
    know. `spellings` are the client's names for fields of this struct, where they differ. What
    `is_large`, having been read from more than slices.LARGE bytes, is written bit by bit.
    """

    model: str
    messages: list[Message]
    origin: str
    stream: bool = False
    system: list[Text] = []
    tools: list[Tool] = []
    web_search: WebSearch | None = None
    hosted_tools: tuple[str, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    thinking: Thinking | None = None
    output: OutputFormat | None = None
    verbosity: str | None = None
    user: str | None = None
    service_tier: str | None = None
    metadata: msgspec.Raw | None = None
    cache: CacheMark | None = None  # on the last block that can carry one, wherever it is
    family_fields: dict[str, msgspec.Raw] = {}
    dropped: list[str] = []
    spellings: Mapping[str, str] = {}
    is_large: bool = False


# -- what is answered -----------------------------------------------------------------------


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens, where a total includes its parts: cached in input, reasoning in output.

    None is unknown. It is never guessed as 0.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


FinishReason = Literal[
    "stop",  # the model had said what it wanted to
    "stop_sequence",
    "length",  # max_tokens
    "context",  # the context window is full
    "tool_calls",
    "filtered",  # refused by the model or cut by the vendor's filter
    "paused",  # the vendor's own tools paused; sending it all again goes on
    "other",  # the vendor's word for something that went wrong
]


class Finish(msgspec.Struct, frozen=True, gc=False):
    """Why an answer ended. `raw` is the vendor's word, `sequence` the stop string that was met,
    `detail` what the vendor says to a refusal.
    """

    reason: FinishReason
    raw: str | None = None
    sequence: str | None = None
    detail: str | None = None


class LogProb(msgspec.Struct, frozen=True):
    """The probability of a token (its natural logarithm), and of those that nearly were it."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: "tuple[LogProb, ...]" = ()


class Candidate(msgspec.Struct):
    """One answer. `logprobs` are those of its text, in order; None if not given."""

    blocks: list[Block]
    finish: Finish
    index: int = 0
    logprobs: tuple[LogProb, ...] | None = None


class Answer(msgspec.Struct):
    """A whole answer. `id` and `model` are as the upstream has them. `is_large`: see Request."""

    candidates: list[Candidate]
    usage: Usage | None = None
    id: str | None = None
    model: str | None = None
    is_large: bool = False


class Failure(msgspec.Struct, frozen=True):
    """An upstream's error: the HTTP status that its class has, in its words.

    `code` is the vendor's machine-readable word, such as context_length_exceeded.
    """

    status: int
    message: str
    code: str | None = None
    retry_after_s: float | None = None


# -- the events of a stream -----------------------------------------------------------------
#
# A decoder's events are well formed, whatever its wire was: Start first; blocks numbered from 0 in
# the order in which they start, one open at a time for each candidate, each of them ended; for each
# candidate a Finished after its last block; End last. Or Failed, which is the last as well.


class Start(msgspec.Struct, gc=False):
    """The answer begins. `usage` is what is known of it already: the input."""

    id: str | None = None
    model: str | None = None
    usage: Usage | None = None


StreamedKind = Literal["text", "reasoning", "refusal", "tool_call"]


class BlockStart(msgspec.Struct, gc=False):
    """Block `index` begins, part of candidate `candidate`.

    `id`, `name` and `custom` are those of a tool call, `raw` and `redacted` of reasoning.
    """

    index: int
    kind: StreamedKind
    candidate: int = 0
    id: str = ""
    name: str = ""
    custom: bool = False
    raw: bool = False
    redacted: bool = False


class Delta(msgspec.Struct, gc=False):
    """More text of block `index`: of a tool call, of its arguments. Never empty."""

    index: int
    text: str
    logprobs: tuple[LogProb, ...] = ()


class Signed(msgspec.Struct, gc=False):
    """The signature of block `index`, reasoning or a tool call. Comes once, before its end."""

    index: int
    signature: Signature


class Cited(msgspec.Struct, gc=False):
    """A citation of text block `index`."""

    index: int
    citation: Citation


class BlockEnd(msgspec.Struct, gc=False):
    """Block `index` is complete."""

    index: int


class Finished(msgspec.Struct, gc=False):
    """A candidate is complete."""

    finish: Finish
    candidate: int = 0


class End(msgspec.Struct, gc=False):
    """The answer is complete."""

    usage: Usage | None = None


class Failed(msgspec.Struct, gc=False):
    """The upstream gave up. Nothing follows."""

    failure: Failure


Event = Start | BlockStart | Delta | Signed | Cited | BlockEnd | Finished | End | Failed
Events = Sequence[Event]

"""A question in words that no protocol owns, and what a client understood of the answer.

A client's adapter (`tests.matrix.clients`) turns the one into a call of its SDK and the SDK's
answer into the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# -- what is asked --------------------------------------------------------------------------


@dataclass(frozen=True)
class Image:
    """An image, by its base64 or by its address."""

    data: str = ""
    media_type: str = "image/png"
    url: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Pdf:
    """A PDF, by its base64 or by its address."""

    data: str = ""
    url: str = ""


@dataclass(frozen=True)
class Sound:
    """A sound in base64, in the format wav."""

    data: str


@dataclass(frozen=True)
class PlainDocument:
    """A plain text as a document."""

    text: str


Part = str | Image | Pdf | Sound | PlainDocument


@dataclass(frozen=True)
class User:
    """A user's turn."""

    parts: tuple[Part, ...]

    def __init__(self, *parts: Part) -> None:
        object.__setattr__(self, "parts", parts)


@dataclass(frozen=True)
class Said:
    """A model's turn that the client wrote itself: text alone."""

    text: str


@dataclass(frozen=True)
class SystemNote:
    """What the system says in the middle of a conversation."""

    text: str


@dataclass(frozen=True)
class SaidCalls:
    """A model's turn with calls that the client wrote itself: taken from another conversation."""

    calls: "tuple[Called, ...]"


@dataclass(frozen=True)
class Replayed:
    """A model's turn as the client's SDK gave it out. `native` is that protocol's own."""

    native: Any


@dataclass(frozen=True)
class Result:
    """What a call gave."""

    call: "Called"
    text: str
    is_error: bool = False
    media: tuple[Image | Pdf, ...] = ()


@dataclass(frozen=True)
class Results:
    """What the calls of a turn gave, with what the user says to it."""

    results: tuple[Result, ...]
    remark: str = ""


Turn = User | Said | SaidCalls | SystemNote | Replayed | Results


@dataclass(frozen=True)
class Tool:
    """A tool that the model may call; without a schema it takes nothing. `custom` takes text."""

    name: str
    schema: Mapping[str, Any] | None = None
    description: str = "A tool"
    strict: bool | None = None
    custom: bool = False


@dataclass(frozen=True)
class Schema:
    """The form of an answer."""

    schema: Mapping[str, Any]
    name: str = "answer"
    strict: bool | None = None


@dataclass(frozen=True)
class Question:
    """What is asked. None and empty mean that nothing is said about it.

    `choice` is auto, required, none or, with the names behind a colon, some of the tools; `output`
    `object` for any JSON object; `own` the client protocol's own fields, as they are.
    """

    turns: tuple[Turn, ...]
    system: str = ""
    tools: tuple[Tool, ...] = ()
    choice: str | None = None
    parallel: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    n: int | None = None
    top_logprobs: int | None = None
    effort: str | None = None
    budget: int | None = None
    show_thinking: bool | None = None
    output: "Literal['object'] | Schema | None" = None
    verbosity: str | None = None
    user: str | None = None
    service_tier: str | None = None
    metadata: Mapping[str, str] | None = None
    own: Mapping[str, Any] = field(default_factory=dict)


def ask(*turns: Turn | str, **settings: Any) -> Question:
    """A question; a string is a user's turn."""
    spelled = tuple(User(turn) if isinstance(turn, str) else turn for turn in turns)
    return Question(spelled, **settings)


# -- what is understood -----------------------------------------------------------------------


@dataclass(frozen=True)
class Called:
    """A call that the client was given. `arguments` is None if they were no JSON."""

    id: str | None
    name: str
    arguments: Any


@dataclass(frozen=True)
class Counted:
    """Token counts, where a total includes its parts. None where the protocol did not say."""

    input: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None


Finish = Literal["stop", "stop_sequence", "length", "tool_calls", "filtered"]


@dataclass
class Reply:
    """One answer. `finish` is the protocol's word for the end in neutral terms, `raw_finish` as it
    is; `turn` is what the client would put into its history; `texts` are all answers if there are
    several; `cited` are the addresses and titles of pages that the text rests on.
    """

    text: str = ""
    thinking: str = ""
    refusal: str = ""
    calls: list[Called] = field(default_factory=list)
    finish: Finish | None = None
    raw_finish: str = ""
    sequence: str | None = None
    counted: Counted | None = None
    model: str = ""
    id: str = ""
    texts: list[str] = field(default_factory=list)
    logprobs: list[tuple[str, float]] = field(default_factory=list)
    cited: list[tuple[str, str]] = field(default_factory=list)
    dropped: frozenset[str] = frozenset()
    turn: Any = None

    @property
    def replayed(self) -> Replayed:
        """The answer as a turn of the next question."""
        return Replayed(self.turn)


class Failed(Exception):
    """The exception that a client's SDK raised, or the failure that it was told.

    `status` is the HTTP status, None when the answer had begun; `kind` the protocol's word for the
    class; `heard` the text that had come before; `details` Google's.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None,
        kind: str | None,
        code: str | None = None,
        heard: str = "",
        details: Any = None,
    ) -> None:
        super().__init__(f"{status} {kind} {code}: {message}")
        self.message = message
        self.status = status
        self.kind = kind
        self.code = code
        self.heard = heard
        self.details = details


OnText = Callable[[str], None]


class Unsayable(Exception):
    """The client's protocol has no way to ask for this."""

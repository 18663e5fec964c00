"""What the model of a strict provider says: the same for all four, each in its own wire shape.

A marker such as `[[loop]]` in a user's text chooses; the last one counts, and without one it is
`[[text]]`. How many turns the model has said since tells which step of the script is next, and the
history must hold the earlier ones as they were said.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tests.support.strict.refused import Kind, Refused
from tests.support.strict.seen import Seen, SeenTurn

_MARKER: Final = re.compile(r"\[\[([a-z0-9-]+)\]\]")

Finish = Literal["stop", "stop_sequence", "length", "filtered", "blocked"]


@dataclass(frozen=True)
class Cite:
    """A web page that the text from character `start` to `end` rests on."""

    url: str
    title: str
    start: int
    end: int


@dataclass(frozen=True)
class Say:
    """Text."""

    text: str
    cites: tuple[Cite, ...] = ()


@dataclass(frozen=True)
class Think:
    """Thinking, shown to the client if it wants to see it. Signed where the vendor signs."""

    text: str


@dataclass(frozen=True)
class Redacted:
    """Thinking that only Anthropic keeps to itself."""


@dataclass(frozen=True)
class Call:
    """A call of a tool; the name `*` is that of the tool it has to call, else of the first it has.

    `written` is the arguments as JSON text, if they are not to be complete; `free_text` what a tool
    of free text gets, and as a function in its one property `input`.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    written: str | None = None
    free_text: str | None = None


@dataclass(frozen=True)
class Refuse:
    """The words of a refusal."""

    text: str


Part = Say | Think | Redacted | Call | Refuse


@dataclass(frozen=True)
class Tokens:
    """Token counts, where a total includes its parts: cached in input, reasoning in output."""

    input: int = 120
    cached: int = 40
    cache_write: int = 16
    output: int = 30
    reasoning: int = 0


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and when: as the answer's status, as the stream's first event, as an event
    in the middle; or the answer is `cut` there without a word.
    """

    when: Literal["status", "first", "middle", "cut"]
    kind: Kind = "overloaded"
    message: str = "The engine is currently overloaded"
    code: str | None = None
    retry_after_s: int | None = None

    @property
    def refused(self) -> Refused:
        """The same as an exception."""
        return Refused(
            self.message, kind=self.kind, code=self.code, retry_after_s=self.retry_after_s
        )


@dataclass(frozen=True)
class Step:
    """One answer. `waits` holds a stream after its first delta until the test lets it go."""

    parts: tuple[Part, ...] = ()
    finish: Finish = "stop"
    tokens: Tokens = Tokens()
    fault: Fault | None = None
    waits: bool = False

    @property
    def calls(self) -> list[Call]:
        """The calls in it."""
        return [part for part in self.parts if isinstance(part, Call)]

    @property
    def text(self) -> str:
        """The text in it."""
        return "".join(part.text for part in self.parts if isinstance(part, Say))

    @property
    def thinking(self) -> str:
        """The thinking in it."""
        return "".join(part.text for part in self.parts if isinstance(part, Think))


# U+2028 is a line end to readers that split lines as Unicode does; the last character needs two
# units of UTF-16, so that its JSON escape can be cut in the middle.
TEXT: Final = "Grüezi! It is \u2028sunny in Zürich \U0001f31e."
THOUGHTS: Final = "The user greets me; I should greet back."
CITY: Final = {"city": "Zürich \U0001f31e", "days": 2, "exact": True}
THINKING: Final = Tokens(output=42, reasoning=12)

SCRIPTS: Final[Mapping[str, tuple[Step, ...]]] = {
    "text": (Step((Say(TEXT),)),),
    "short": (Step((Say("Hi."),)),) * 9,
    "tool": (Step((Call("get_weather", CITY),)), Step((Say("It is sunny."),))),
    "talking-tool": (
        Step((Say("Let me look."), Call("get_weather", CITY))),
        Step((Say("It is sunny."),)),
    ),
    "parallel": (
        Step((Call("get_weather", CITY), Call("get_time"), Call("get_weather", {"city": "Bern"}))),
        Step((Say("Sunny, noon, rainy."),)),
    ),
    "loop": (
        Step(
            (
                Think("I need the weather first."),
                Say("Let me look."),
                Call("get_weather", CITY),
            ),
            tokens=THINKING,
        ),
        Step((Think("Now the time."), Call("get_time")), tokens=THINKING),
        Step((Say("Sunny at noon."),), tokens=THINKING),
    ),
    "parallel-loop": (
        Step(
            (Think("Both at once."), Call("get_weather", CITY), Call("get_time")),
            tokens=THINKING,
        ),
        Step((Say("Sunny at noon."),), tokens=THINKING),
    ),
    "reasoning": (
        Step((Think(THOUGHTS), Say("Hello!")), tokens=THINKING),
        Step((Say("Hello again!"),)),
    ),
    "redacted": (
        Step((Redacted(), Think(THOUGHTS), Say("Hello!")), tokens=THINKING),
        Step((Say("Hello again!"),)),
    ),
    "any-tool": (Step((Call("*", CITY),)), Step((Say("Done."),))),
    "json": (Step((Say('{"city": "Zürich", "degrees": 21}'),)),),
    "custom-tool": (
        Step((Call("run_sql", free_text="SELECT 'ü'\nFROM t;"),)),
        Step((Say("One row."),)),
    ),
    "length": (Step((Say("It is sunn"),), "length"),),
    "cited": (
        Step(
            (
                Say(
                    "Sunny. Warm.",
                    (
                        Cite("https://example.com/sun", "Sun", 0, 6),
                        Cite("https://example.com/heat", "Heat", 7, 12),
                    ),
                ),
            ),
        ),
    )
    * 2,
    "half-call": (
        Step((Say("Let me look."), Call("get_weather", written='{"city": "Zür')), "length"),
    ),
    "stop-sequence": (Step((Say("one two "),), "stop_sequence"),),
    "refusal": (Step((Refuse("I cannot help with that."),), "filtered"),),
    "filtered": (Step((Say("It is "),), "filtered"),),
    "blocked": (Step((), "blocked"),),
    "empty": (Step(),),
    "slow": (Step((Say("first second third"),), waits=True),),
    "error-400": (Step(fault=Fault("status", "invalid", "The prompt is not valid")),),
    "error-context": (
        Step(
            fault=Fault(
                "status", "invalid", "prompt is too long: 99 tokens", "context_length_exceeded"
            )
        ),
    ),
    "error-401": (Step(fault=Fault("status", "auth", "Incorrect API key provided")),),
    "error-403": (Step(fault=Fault("status", "forbidden", "You may not use this model")),),
    "error-404": (Step(fault=Fault("status", "not_found", "The model does not exist")),),
    "error-413": (Step(fault=Fault("status", "too_large", "Request exceeds the maximum size")),),
    "error-429": (
        Step(fault=Fault("status", "rate_limit", "Rate limit reached", retry_after_s=17)),
    ),
    "error-500": (Step(fault=Fault("status", "internal", "The server had an error")),),
    "error-overloaded": (Step(fault=Fault("status")),),
    "error-first": (Step((Say(TEXT),), fault=Fault("first")),),
    "error-first-429": (
        Step((Say(TEXT),), fault=Fault("first", "rate_limit", "Rate limit reached")),
    ),
    "error-middle": (Step((Say(TEXT),), fault=Fault("middle")),),
    "cut": (Step((Say(TEXT),), fault=Fault("cut")),),
}


def next_step(seen: Seen) -> Step:
    """What to say to a request. Raises Refused when its history is not what was said."""
    name, since = _last_marker(seen)
    if name not in SCRIPTS:
        raise Refused(f"there is no script {name!r}")
    steps = SCRIPTS[name]
    said = [turn for turn in seen.turns[since:] if turn.role == "assistant"]
    if len(said) >= len(steps):
        raise Refused(f"script {name!r} has {len(steps)} steps, the history has {len(said)}")
    for number, (step, turn) in enumerate(zip(steps, said, strict=False)):
        for problem in _changes(step, turn):
            raise Refused(f"history harmed: turn {number} of {name!r}: {problem}")
    return steps[len(said)]


def _last_marker(seen: Seen) -> tuple[str, int]:
    name, place = "text", 0
    for number, turn in enumerate(seen.turns):
        if turn.role == "user" and (found := _MARKER.findall(turn.text)):
            name, place = found[-1], number
    return name, place


def _changes(step: Step, turn: SeenTurn) -> Iterator[str]:
    if turn.text != step.text:
        yield f"the text was {step.text!r} and is {turn.text!r}"
    if len(turn.calls) != len(step.calls):
        yield f"there were {len(step.calls)} calls and are {len(turn.calls)}"
    for said, seen in zip(step.calls, turn.calls, strict=False):
        if said.name not in ("*", seen.name):
            yield f"the tool called was {said.name} and is {seen.name}"
        if seen.arguments not in (said.free_text, _object(said)):
            yield f"the arguments were {said} and are {seen.arguments!r}"
    if turn.thoughts and "".join(turn.thoughts) != step.thinking:
        yield f"the thinking was {step.thinking!r} and is {turn.thoughts!r}"


def _object(call: Call) -> dict[str, Any]:
    return dict(call.arguments) if call.free_text is None else {"input": call.free_text}


@dataclass(frozen=True)
class SpokenCall:
    """A call as it is written for one request: JSON text of an object, or free text."""

    name: str
    text: str
    custom: bool = False

    @property
    def arguments(self) -> dict[str, Any] | None:
        """The object; None if the text is not complete."""
        try:
            found: dict[str, Any] = json.loads(self.text)
        except ValueError:
            return None
        return found


def spoken(step: Step, seen: Seen) -> Iterator[Say | Think | Redacted | Refuse | SpokenCall]:
    """The parts of a step as this request lets them be said.

    Raises Refused for a call of a tool that the request has not declared, or that it forbids.
    """
    only = (seen.choice or "").partition(":")[2].split(",")
    forced = (seen.choice or "").startswith("required:") and not step.calls
    for part in step.parts:
        if isinstance(part, Say) and forced:
            yield SpokenCall(only[0], part.text)
        elif not isinstance(part, Call):
            yield part
        else:
            yield _spoken_call(part, seen, only[0])


def _spoken_call(call: Call, seen: Seen, chosen: str) -> SpokenCall:
    name = call.name
    if name == "*":
        name = chosen or next(iter(seen.tools), "")
    if name not in seen.tools or seen.choice == "none":
        raise Refused(f"the script calls {name!r}, the request has {sorted(seen.tools)}")
    if call.free_text is not None and seen.tools[name].custom:
        return SpokenCall(name, call.free_text, custom=True)
    return SpokenCall(name, call.written or json.dumps(_object(call)))


def pieces(text: str, size: int = 5) -> list[str]:
    """A text in pieces, as a model says it."""
    return [text[start : start + size] for start in range(0, len(text), size)]

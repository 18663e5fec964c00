"""What a provider understood of a request, in words that are the same for all four.

It is read from the wire by the providers alone, without any code of the router's, so that a test
can compare what a client meant with what arrived.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

Settings = dict[str, Any]


@dataclass(frozen=True)
class SeenMedia:
    """An image, a document or a sound: `data` is base64, or there is a `url`."""

    kind: Literal["image", "document", "audio"]
    media_type: str | None = None
    data: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class SeenCall:
    """A call in the history. `arguments` is the object, or the text of a free-text tool.

    `signed` says that a signature of the provider's own came back with it.
    """

    id: str | None
    name: str
    arguments: Any
    signed: bool = False


@dataclass(frozen=True)
class SeenResult:
    """The result of a call, by its id or its name."""

    id: str | None
    name: str | None
    text: str
    is_error: bool = False
    media: tuple[SeenMedia, ...] = ()


@dataclass(frozen=True)
class SeenThought:
    """Thinking in the history, verified as the provider's own."""

    text: str


SeenBlock = str | SeenMedia | SeenCall | SeenResult | SeenThought


@dataclass
class SeenTurn:
    """One turn of the conversation, in the provider's own division into turns."""

    role: Literal["user", "assistant", "system"]
    blocks: list[SeenBlock] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its texts, joined."""
        return "".join(block for block in self.blocks if isinstance(block, str))

    @property
    def calls(self) -> list[SeenCall]:
        """Its calls."""
        return [block for block in self.blocks if isinstance(block, SeenCall)]

    @property
    def results(self) -> list[SeenResult]:
        """Its results."""
        return [block for block in self.blocks if isinstance(block, SeenResult)]

    @property
    def media(self) -> list[SeenMedia]:
        """Its images, documents and sounds."""
        return [block for block in self.blocks if isinstance(block, SeenMedia)]

    @property
    def thoughts(self) -> list[str]:
        """Its thinking."""
        return [block.text for block in self.blocks if isinstance(block, SeenThought)]


@dataclass(frozen=True)
class SeenTool:
    """A tool that the model may call. `schema` is the parameters' as they came."""

    name: str
    description: str | None = None
    schema: Any = None
    strict: bool | None = None
    custom: bool = False


@dataclass
class Seen:
    """One request.

    `choice` is auto, required, none or the names that are allowed after `auto:` or `required:`;
    `settings` holds what else was set, under neutral names (those of ir.Request); `thinking` how
    much to think, in the vendor's own words; `output` the form of the answer; `legacy` that chat's
    functions were declared as they once were.
    """

    model: str
    stream: bool = False
    system: list[str] = field(default_factory=list)
    turns: list[SeenTurn] = field(default_factory=list)
    tools: dict[str, SeenTool] = field(default_factory=dict)
    hosted_tools: list[str] = field(default_factory=list)
    choice: str | None = None
    parallel: bool | None = None
    settings: Settings = field(default_factory=dict)
    thinking: Settings = field(default_factory=dict)
    thoughts_shown: bool | None = None
    output: Settings | None = None
    cache_marks: list[str] = field(default_factory=list)
    n: int = 1
    legacy: bool = False
    usage_in_stream: bool = True

    @property
    def all_system(self) -> str:
        """Everything said to the system, wherever it stood."""
        later = [turn.text for turn in self.turns if turn.role == "system"]
        return "\n\n".join([*self.system, *later])

    @property
    def media(self) -> list[SeenMedia]:
        """Every image, document and sound of the conversation, in results too, in order."""
        found: list[SeenMedia] = []
        for turn in self.turns:
            for block in turn.blocks:
                if isinstance(block, SeenMedia):
                    found.append(block)
                elif isinstance(block, SeenResult):
                    found += block.media
        return found

    @property
    def results(self) -> list[SeenResult]:
        """Every tool result of the conversation, in order."""
        return [result for turn in self.turns for result in turn.results]

    @property
    def calls(self) -> list[SeenCall]:
        """Every call of the conversation, in order."""
        return [call for turn in self.turns for call in turn.calls]

    @property
    def thoughts(self) -> list[str]:
        """All thinking in the history, in order."""
        return [thought for turn in self.turns for thought in turn.thoughts]

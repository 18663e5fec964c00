"""Any request that the neutral form can say, as strategies.

What a protocol cannot say is left out by keyword: `neutral_requests(media=())`.
"""

from typing import Any, Final, TypedDict, Unpack

import msgspec
from hypothesis import strategies as st

from bitrouter import ir
from tests.support.neutral import arguments, compact, names, signatures, texts


class RequestLimits(TypedDict, total=False):
    """What a protocol can say in a request; everything if nothing is given.

    `without`: fields of ir.Request that are never set · `media`: kinds of media · `origins`: whose
    signatures reasoning in the history has · `call_signatures`, `custom_tools`, `cache`: whether
    there are any · `system_turns`: whether a system's turn may stand between others ·
    `result_media`: whether the results of calls may hold media.
    """

    without: tuple[str, ...]
    media: tuple[ir.MediaKind, ...]
    origins: tuple[str, ...]
    call_signatures: bool
    custom_tools: bool
    cache: bool
    system_turns: bool
    result_media: bool


_BASE64: Final = st.sampled_from(["aGVsbG8=", "iVBORw0KGgo=", "AAAA", "+/+/"])
_MEDIA: Final[dict[ir.MediaKind, st.SearchStrategy[ir.Media]]] = {
    "image": st.builds(
        ir.Media,
        st.just("image"),
        st.sampled_from(["image/png", "image/jpeg", "image/gif", "image/webp"]),
        _BASE64,
    )
    | st.just(ir.Media("image", url="https://example.org/cat.png?size=2")),
    "document": st.builds(
        ir.Media,
        st.just("document"),
        st.just("application/pdf"),
        _BASE64,
        name=st.sampled_from([None, "report.pdf"]),
    )
    | st.builds(ir.Media, st.just("document"), st.just("text/plain"), text=texts()),
    "audio": st.builds(
        ir.Media, st.just("audio"), st.sampled_from(["audio/wav", "audio/mp3"]), _BASE64
    ),
    "video": st.builds(ir.Media, st.just("video"), st.just("video/mp4"), _BASE64),
}
_marks: Final = st.sampled_from([None, None, ir.CacheMark(), ir.CacheMark(3600)])


def _cache(limits: RequestLimits) -> st.SearchStrategy[ir.CacheMark | None]:
    return _marks if limits.get("cache", True) else st.none()


def _marked_text(limits: RequestLimits) -> st.SearchStrategy[ir.Text]:
    return st.builds(ir.Text, texts(), _cache(limits))


@st.composite
def _media(draw: st.DrawFn, limits: RequestLimits) -> ir.Media:
    kind = draw(st.sampled_from(limits.get("media", tuple(_MEDIA))))
    return msgspec.structs.replace(draw(_MEDIA[kind]), cache=draw(_cache(limits)))


def _content(limits: RequestLimits, *, media: bool) -> st.SearchStrategy[Any]:
    text: st.SearchStrategy[Any] = _marked_text(limits)
    return text | _media(limits) if media and limits.get("media", tuple(_MEDIA)) else text


@st.composite
def _results(draw: st.DrawFn, calls: list[ir.ToolCall], limits: RequestLimits) -> list[ir.Block]:
    content = _content(limits, media=limits.get("result_media", True))
    return [
        ir.ToolResult(
            call.id,
            draw(st.lists(content, min_size=1, max_size=2)),
            is_error=draw(st.booleans()),
            name=call.name,
        )
        for call in calls
    ]


@st.composite
def _assistant_turn(draw: st.DrawFn, turn: int, tools: list[ir.Tool], limits: RequestLimits) -> Any:
    """An assistant's turn: reasoning, text, then calls."""
    blocks: list[ir.Block] = []
    origins = limits.get("origins", ("a", "g", "o"))
    if bool(origins) and draw(st.booleans()):
        blocks.append(ir.Reasoning(draw(texts()), draw(signatures(origins, empty=False))))
    blocks += draw(st.lists(_marked_text(limits), max_size=1))
    wanted = draw(st.integers(0, 3)) if tools else 0
    for place in range(wanted):
        tool = draw(st.sampled_from(tools))
        signature = None
        if limits.get("call_signatures", True):
            signature = draw(st.none() | signatures(("g",), empty=False))
        given = draw(texts() if tool.custom else arguments())
        blocks.append(ir.ToolCall(f"call_{turn}_{place}", tool.name, given, tool.custom, signature))
    return ir.Message("assistant", blocks or [ir.Text("well")])


@st.composite
def _conversation(draw: st.DrawFn, tools: list[ir.Tool], limits: RequestLimits) -> Any:
    """Turns that alternate, begin and end with the user's, and have every call answered."""
    content = _content(limits, media=True)
    turns = [ir.Message("user", draw(st.lists(content, min_size=1, max_size=3)))]
    for turn in range(draw(st.integers(0, 3))):
        said: ir.Message = draw(_assistant_turn(turn, tools, limits))
        calls = [block for block in said.blocks if isinstance(block, ir.ToolCall)]
        results: list[ir.Block] = draw(_results(calls, limits))
        rest = draw(st.lists(content, min_size=0 if results else 1, max_size=2))
        turns += [said, ir.Message("user", [*results, *rest])]
        if limits.get("system_turns", True) and draw(st.integers(0, 4)) == 0:
            turns.insert(-2, ir.Message("system", [ir.Text(draw(texts()))]))
    return turns


_schemas: Final = st.sampled_from(
    [
        None,
        {"type": "object", "properties": {}},
        {
            "type": "object",
            "properties": {
                "z": {"type": "string", "description": "grüß"},
                "a": {"type": ["integer", "null"]},
                "list": {"type": "array", "items": {"$ref": "#/$defs/item"}},
            },
            "required": ["z"],
            "additionalProperties": False,
            "$defs": {"item": {"enum": ["x", "y"]}},
        },
    ]
)


def _raw(value: Any) -> msgspec.Raw | None:
    return None if value is None else msgspec.Raw(compact(value).encode())


@st.composite
def _tools(draw: st.DrawFn, limits: RequestLimits) -> list[ir.Tool]:
    chosen = draw(st.lists(names, max_size=3, unique=True))
    tools = []
    for name in chosen:
        custom = limits.get("custom_tools", True) and draw(st.integers(0, 3)) == 0
        tools.append(
            ir.Tool(
                name,
                description=draw(st.none() | texts()),
                parameters=None if custom else _raw(draw(_schemas)),
                strict=None if custom else draw(st.sampled_from([None, True, False])),
                custom=custom,
                cache=draw(_cache(limits)),
            )
        )
    return tools


@st.composite
def _choice(draw: st.DrawFn, tools: list[ir.Tool]) -> ir.ToolChoice | None:
    if not tools:
        return None
    mode: Any = draw(st.sampled_from([None, "auto", "required", "none"]))
    if mode is None:
        return None
    if mode == "required" and draw(st.booleans()):
        return ir.ToolChoice(mode, (draw(st.sampled_from(tools)).name,))
    return ir.ToolChoice(mode)


_thinking: Final = st.one_of(
    st.builds(
        ir.Thinking,
        st.sampled_from(["low", "medium", "high", "xhigh", "max"]),
        visible=st.sampled_from([None, True, False]),
    ),
    st.builds(ir.Thinking, budget_tokens=st.integers(1024, 30000)),
    st.just(ir.Thinking(adaptive=True)),
    st.just(ir.Thinking("none")),
)
_output: Final = st.one_of(
    st.just(ir.OutputFormat()),
    _schemas.filter(bool).map(lambda schema: ir.OutputFormat(_raw(schema), "response")),
)
# The fields of a request that are settings, apart from those that go with tools.
_SETTINGS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "stream": st.booleans(),
    "max_tokens": st.none() | st.integers(1, 100_000),
    "temperature": st.none() | st.floats(0, 2),
    "top_p": st.none() | st.floats(0, 1),
    "top_k": st.none() | st.integers(1, 100),
    "stop": st.just(()) | st.lists(texts(), min_size=1, max_size=4).map(tuple),
    "presence_penalty": st.none() | st.floats(-2, 2),
    "frequency_penalty": st.none() | st.floats(-2, 2),
    "seed": st.none() | st.integers(0, 2**31 - 1),
    "n": st.none() | st.just(1),
    "logprobs": st.none() | st.booleans(),
    "top_logprobs": st.none(),
    "thinking": st.none() | _thinking,
    "output": st.none() | _output,
    "verbosity": st.sampled_from([None, "low", "medium", "high"]),
    "user": st.none() | names,
    "service_tier": st.sampled_from([None, "auto", "default", "flex", "priority"]),
    "metadata": st.none() | st.just(_raw({"purpose": "test"})),
}


@st.composite
def neutral_requests(draw: st.DrawFn, **limits: Unpack[RequestLimits]) -> ir.Request:
    """Requests of another vendor's client: rich, in order, with tools for every call."""
    tools = draw(_tools(limits))
    without = limits.get("without", ())
    settings = {name: draw(strategy) for name, strategy in _SETTINGS.items() if name not in without}
    settings["tool_choice"] = draw(_choice(tools))
    if tools:
        settings["parallel_tools"] = draw(st.sampled_from([None, True, False]))
    return ir.Request(
        model=draw(names),
        messages=draw(_conversation(tools, limits)),
        origin="x",
        system=draw(st.lists(_marked_text(limits), max_size=2)),
        tools=tools,
        **{name: value for name, value in settings.items() if name not in without},
    )

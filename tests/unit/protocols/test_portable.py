"""What every translated request keeps and loses, whatever the protocol."""

from typing import Any

import pytest

from bitrouter.config.schema import Traits
from bitrouter.errors import UnsupportedFeature
from bitrouter.ir import Message, Request, Text, Tool, ToolChoice, WebSearch
from bitrouter.protocols.portable import fitting, only_chosen


def request(**fields: Any) -> Request:
    return Request("m", [Message("user", [Text("hi")])], "o", **fields)


def test_a_request_that_fits_is_the_same_object() -> None:
    asked = request(temperature=0.5)

    assert fitting(asked, Traits(), ("seed", "stop")) == (asked, [])
    assert fitting(asked, Traits(), ("seed", "stop"))[0] is asked


def test_what_the_protocol_lacks_and_the_model_refuses_is_dropped_and_named() -> None:
    asked = request(temperature=0.5, seed=1, stop=("x",), top_p=0.9)

    kept, dropped = fitting(asked, Traits(unsupported=("temperature", "seed")), ("stop",))

    assert kept == request(top_p=0.9)
    assert dropped == ["stop", "temperature", "seed"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 1),
        ("parallel_tools", True),
        ("logprobs", False),
        ("presence_penalty", 0.0),
        ("frequency_penalty", 0.0),
    ],
)
def test_what_happens_anyway_is_dropped_without_a_word(field: str, value: object) -> None:
    kept, dropped = fitting(request(**{field: value}), Traits(), (field,))

    assert (kept, dropped) == (request(), [])


def test_how_many_logprobs_goes_with_the_logprobs() -> None:
    asked = request(logprobs=True, top_logprobs=5)

    kept, dropped = fitting(asked, Traits(unsupported=("logprobs",)), ())

    assert (kept, dropped) == (request(), ["logprobs", "top_logprobs"])


def test_temperature_zero_says_something() -> None:
    assert fitting(request(temperature=0.0), Traits(), ("temperature",))[1] == ["temperature"]


def test_more_than_one_answer_is_refused() -> None:
    with pytest.raises(UnsupportedFeature, match="n: this model gives one answer"):
        fitting(request(n=2), Traits(), ("n",))


def test_hosted_tool_without_counterpart_is_refused() -> None:
    asked = request(hosted_tools=("code_execution",), tools=[Tool("f")])

    with pytest.raises(UnsupportedFeature, match="'code_execution' has no counterpart"):
        fitting(asked, Traits(), ())


def test_an_operator_can_have_hosted_tools_dropped() -> None:
    asked = request(hosted_tools=("code_execution",), web_search=WebSearch(), tools=[Tool("f")])

    kept, dropped = fitting(asked, Traits(hosted_tools="drop"), ())

    assert (kept, dropped) == (request(tools=[Tool("f")]), ["tools"])


def test_hosted_tool_that_must_be_called_is_never_dropped() -> None:
    asked = request(hosted_tools=("search",), tool_choice=ToolChoice("required", ("search",)))

    with pytest.raises(UnsupportedFeature, match=r"'search' has .* a call of it is required"):
        fitting(asked, Traits(hosted_tools="drop"), ())


def test_web_search_stays_where_the_provider_has_it() -> None:
    asked = request(web_search=WebSearch())

    assert fitting(asked, Traits(web_search="web_search"), ()) == (asked, [])
    with pytest.raises(UnsupportedFeature, match="web_search"):
        fitting(asked, Traits(), ())


@pytest.mark.parametrize("mode", ["auto", "none"])
def test_choice_without_tools_goes(mode: Any) -> None:
    asked = request(tool_choice=ToolChoice(mode), parallel_tools=False)

    assert fitting(asked, Traits(), ()) == (request(), [])


def test_required_call_without_tools_is_refused() -> None:
    with pytest.raises(UnsupportedFeature, match="a call is required"):
        fitting(request(tool_choice=ToolChoice("required")), Traits(), ())


def test_choice_of_a_tool_that_is_not_there_is_refused() -> None:
    asked = request(tools=[Tool("f")], tool_choice=ToolChoice("required", ("g",)))

    with pytest.raises(UnsupportedFeature, match="there is no tool 'g'"):
        fitting(asked, Traits(), ())


def test_a_choice_of_several_becomes_those_tools_alone() -> None:
    several = request(
        tools=[Tool("f"), Tool("g"), Tool("h")], tool_choice=ToolChoice("required", ("f", "h"))
    )
    one = request(tools=[Tool("f"), Tool("g")], tool_choice=ToolChoice("required", ("f",)))

    assert only_chosen(several) == request(
        tools=[Tool("f"), Tool("h")], tool_choice=ToolChoice("required")
    )
    assert only_chosen(one) is one

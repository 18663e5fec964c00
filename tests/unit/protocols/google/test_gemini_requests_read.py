"""What a Gemini client's request means, member by member."""

from typing import Any

import pytest

from bitrouter import ir
from bitrouter.errors import InvalidRequest, UnsupportedFeature
from bitrouter.protocols.base import Framing
from tests.unit.protocols.google.geminiwire import (
    TRANSLATOR,
    Body,
    configured,
    decoded,
    decoded_text,
    plain,
    request,
    turn,
)

TURN = '{"parts":[{"text":"hi"}]}'

# -- the frame ----------------------------------------------------------------------------------


def test_a_smallest_request_says_nothing_beyond_its_turn() -> None:
    assert decoded() == ir.Request(
        "asked-for",
        [ir.Message("user", [ir.Text("hi")])],
        "g",
        spellings=decoded().spellings,
    )


def test_the_model_is_that_of_the_path_and_members_beside_it_mean_nothing() -> None:
    found = decoded(model="models/other", stream=False)
    assert (found.model, found.stream, found.dropped) == ("asked-for", False, [])


@pytest.mark.parametrize("framing", [Framing.SSE, Framing.ARRAY, Framing.NDJSON])
def test_every_framing_of_a_stream_is_a_stream(framing: Framing) -> None:
    found = TRANSLATOR.decode_request(request({}, framing))
    assert found.stream
    assert found.dropped == []


@pytest.mark.parametrize(
    "body",
    [
        {"contents": [turn("user", "hi")]},
        {"contents": turn("user", "hi")},
        {"generateContentRequest": {"model": "models/m", "contents": [turn("user", "hi")]}},
        {"generate_content_request": {"contents": [turn("user", "hi")]}},
    ],
)
def test_what_is_to_be_counted_may_be_wrapped_or_a_turn_alone(body: Body) -> None:
    found = TRANSLATOR.decode_request(request(body, count=True))
    assert found.messages == [ir.Message("user", [ir.Text("hi")])]
    assert found.dropped == []


def test_what_has_no_place_is_announced_in_camel_case_whichever_case_it_came_in() -> None:
    found = decoded(
        safety_settings=[{"category": "HARM_CATEGORY_HATE_SPEECH"}],
        labels={"team": "a"},
        store=True,
        generationConfig={
            "media_resolution": "MEDIA_RESOLUTION_LOW",
            "speechConfig": {"languageCode": "de"},
            "enableEnhancedCivicAnswers": True,
            "madeUp": 1,
            "thinkingConfig": {"thinkingBudget": 1, "madeUpToo": 1},
        },
        toolConfig={
            "retrievalConfig": {"languageCode": "de"},
            "functionCallingConfig": {"streamFunctionCallArguments": True},
        },
        thinkingConfig={"includeThoughts": True},
    )
    assert found.dropped == [
        *("safetySettings", "labels", "store", "thinkingConfig"),
        *("mediaResolution", "speechConfig", "enableEnhancedCivicAnswers", "madeUp"),
        *("madeUpToo", "retrievalConfig", "streamFunctionCallArguments"),
    ]


def test_what_says_nothing_is_not_announced() -> None:
    found = decoded(
        safetySettings=[],
        labels={},
        store=False,
        cachedContent=None,
        continuationToken="",
        tools=None,
        toolConfig={"includeServerSideToolInvocations": False},
        generationConfig={"speechConfig": None, "audioTimestamp": False, "imageConfig": {}},
    )
    assert found.dropped == []


def test_a_count_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^contents is required"):
        TRANSLATOR.decode_request(request({"generateContentRequest": {}}, count=True))


@pytest.mark.parametrize("name", ["cachedContent", "cached_content", "continuationToken"])
def test_state_that_only_google_keeps_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedFeature, match=r"^(cachedContent|continuationToken) "):
        decoded(**{name: "cachedContents/abc"})


@pytest.mark.parametrize(
    ("tier", "meant"),
    [
        ("standard", "default"),
        ("FLEX", "flex"),
        ("SERVICE_TIER_PRIORITY", "priority"),
        ("unspecified", None),
        (None, None),
    ],
)
def test_service_tiers_are_in_the_neutral_words(tier: str | None, meant: str | None) -> None:
    assert decoded(service_tier=tier).service_tier == meant


# -- generationConfig ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        ({"temperature": 0.5}, "temperature", 0.5),
        ({"temperature": 1}, "temperature", 1.0),
        ({"temperature": 0}, "temperature", 0.0),
        ({"topP": 0.9}, "top_p", 0.9),
        ({"top_p": 0.9}, "top_p", 0.9),
        ({"topK": 40}, "top_k", 40),
        ({"topK": 39.6}, "top_k", 40),
        ({"candidateCount": 2}, "n", 2),
        ({"candidateCount": 0}, "n", None),
        ({"maxOutputTokens": 100}, "max_tokens", 100),
        ({"max_output_tokens": "100"}, "max_tokens", 100),
        ({"maxOutputTokens": 100.0}, "max_tokens", 100),
        ({"stopSequences": ["a", "b"]}, "stop", ("a", "b")),
        ({"seed": -5}, "seed", -5),
        ({"presencePenalty": 0.1}, "presence_penalty", 0.1),
        ({"frequencyPenalty": -0.1}, "frequency_penalty", -0.1),
        ({"responseLogprobs": True}, "logprobs", True),
        ({"logprobs": 3}, "top_logprobs", 3),
        ({"responseModalities": ["TEXT"]}, "output", None),
        ({"response_modalities": ["Text"]}, "output", None),
        ({"responseModalities": []}, "output", None),
    ],
)
def test_settings(config: Body, field: str, value: Any) -> None:
    found = configured(**config)
    assert getattr(found, field) == value
    assert found.dropped == []


NUMBERS = ("temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "seed")
MORE_NUMBERS = ("presencePenalty", "frequencyPenalty", "logprobs")
NO_NUMBERS = ("{}", "[1]", "1e999", '"w\u00f6rd"', "true", "1" * 400, '"nan"', '"1e400"')
NO_TEXTS = ("{}", "3", '"a"', "[1]", "[null]", "true")
NO_OBJECTS = ("3", '"a"', "[1]", "true")
WRONG = [
    *((name, wrong) for name in (*NUMBERS, *MORE_NUMBERS) for wrong in NO_NUMBERS),
    *(("maxOutputTokens", wrong) for wrong in ("1.5", "2147483648", "-2147483649")),
    *(("stopSequences", wrong) for wrong in NO_TEXTS),
    *(("responseModalities", wrong) for wrong in NO_TEXTS),
    *(("responseLogprobs", wrong) for wrong in ("{}", "3", '"a"', "[1]")),
    *(("responseMimeType", wrong) for wrong in ("{}", "3", "[1]", "true")),
    *(("thinkingConfig", wrong) for wrong in NO_OBJECTS),
    *(("responseSchema", wrong) for wrong in (*NO_OBJECTS, '{"maximum":1e999}')),
    *(("responseJsonSchema", wrong) for wrong in NO_OBJECTS),
    *(("responseFormat", wrong) for wrong in (*NO_OBJECTS, '{"text":3}', '[{"text":[]}]')),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_a_setting_of_another_type_is_refused_by_its_name(name: str, wrong: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^generationConfig.{name}"):
        decoded_text(f'{{"contents":[{TURN}],"generationConfig":{{"{name}":{wrong}}}}}')


@pytest.mark.parametrize("wrong", NO_OBJECTS)
@pytest.mark.parametrize("name", ["generationConfig", "toolConfig"])
def test_settings_that_are_no_object_are_refused(name: str, wrong: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{name}"):
        decoded_text(f'{{"contents":[{TURN}],"{name}":{wrong}}}')


@pytest.mark.parametrize(
    ("config", "thinking"),
    [
        ({"thinkingBudget": 1024}, ir.Thinking(budget_tokens=1024)),
        ({"thinkingBudget": 0}, ir.Thinking(budget_tokens=0)),
        ({"thinking_budget": -1}, ir.Thinking(budget_tokens=-1, adaptive=True)),
        ({"thinkingLevel": "HIGH"}, ir.Thinking("high")),
        ({"thinking_level": "minimal"}, ir.Thinking("minimal")),
        ({"thinkingLevel": "xhigh"}, ir.Thinking("xhigh")),
        ({"includeThoughts": True}, ir.Thinking(visible=True)),
        ({"include_thoughts": False, "thinking_level": "LOW"}, ir.Thinking("low", visible=False)),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, None),
        ({}, None),
    ],
)
def test_how_much_to_think(config: Body, thinking: ir.Thinking | None) -> None:
    assert configured(thinkingConfig=config).thinking == thinking
    assert configured(thinking_config=config).thinking == thinking


def test_an_unknown_level_of_thinking_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^generationConfig.thinkingConfig.thinkingLevel"):
        configured(thinkingConfig={"thinkingLevel": "A_LOT"})


@pytest.mark.parametrize("kind", ["AUDIO", "image", "VIDEO"])
def test_an_answer_that_is_not_text_is_refused(kind: str) -> None:
    with pytest.raises(UnsupportedFeature, match="responseModalities"):
        configured(responseModalities=["TEXT", kind])


SCHEMA = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}}
JSON_SCHEMA = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}


@pytest.mark.parametrize(
    ("config", "schema"),
    [
        ({"responseMimeType": "application/json"}, None),
        ({"response_mime_type": "Application/JSON", "response_schema": SCHEMA}, JSON_SCHEMA),
        ({"responseMimeType": "application/json", "responseSchema": SCHEMA}, JSON_SCHEMA),
        ({"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}, SCHEMA),
        ({"_responseJsonSchema": JSON_SCHEMA}, JSON_SCHEMA),
        ({"responseSchema": SCHEMA}, JSON_SCHEMA),
        ({"responseFormat": [{"text": {"mimeType": "application/json"}}]}, None),
        ({"responseFormat": {"text": {"schema": JSON_SCHEMA}}}, JSON_SCHEMA),
        (
            {"response_format": [{"text": {"mime_type": "APPLICATION_JSON", "schema": SCHEMA}}]},
            SCHEMA,
        ),
    ],
)
def test_the_form_of_the_answer(config: Body, schema: Any) -> None:
    found = configured(**config)
    assert found.output is not None
    assert plain(found.output.schema) == schema
    assert found.dropped == []


@pytest.mark.parametrize(
    "config",
    [
        {"responseMimeType": "text/plain"},
        {"responseMimeType": ""},
        {"responseFormat": []},
        {"responseFormat": {"text": {"mimeType": "text/plain"}}},
        {"responseFormat": {"text": None, "image": None}},
    ],
)
def test_plain_text_is_no_form(config: Body) -> None:
    assert configured(**config).output is None


@pytest.mark.parametrize(
    "config",
    [
        {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["a"]}},
        {"responseMimeType": "application/xml"},
        {"responseFormat": {"image": {"aspectRatio": "1:1"}}},
        {"responseFormat": [{"text": {"mimeType": "text/x.enum"}}]},
    ],
)
def test_forms_that_only_google_has_are_refused(config: Body) -> None:
    with pytest.raises(UnsupportedFeature, match=r"^generationConfig\.response"):
        configured(**config)


# -- tools --------------------------------------------------------------------------------------


def test_functions_may_be_spread_over_tools_and_stand_beside_others() -> None:
    found = decoded(
        tools=[
            {"functionDeclarations": [{"name": "a.b:c", "description": "d"}], "googleSearch": {}},
            {"function_declarations": [{"name": "g"}], "codeExecution": {}},
            {"url_context": {}, "google_maps": None},
            {},
        ]
    )
    assert found.tools == [ir.Tool("a.b:c", "d"), ir.Tool("g")]
    assert found.web_search == ir.WebSearch()
    assert found.hosted_tools == ("codeExecution", "urlContext")
    assert found.dropped == []


@pytest.mark.parametrize(
    ("declaration", "parameters"),
    [
        ({}, None),
        ({"parameters": None}, None),
        ({"parameters": SCHEMA}, JSON_SCHEMA),
        ({"parametersJsonSchema": JSON_SCHEMA}, JSON_SCHEMA),
        ({"parameters_json_schema": SCHEMA}, SCHEMA),
        ({"parametersJsonSchema": None, "parameters": SCHEMA}, JSON_SCHEMA),
    ],
)
def test_parameters_are_in_google_s_terms_or_in_those_of_json_schema(
    declaration: Body, parameters: Any
) -> None:
    found = decoded(tools=[{"functionDeclarations": [{"name": "f", **declaration}]}])
    assert plain(found.tools[0].parameters) == parameters


def test_a_json_schema_goes_on_as_it_was_written() -> None:
    found = decoded_text(
        f'{{"contents":[{TURN}],"tools":[{{"functionDeclarations":'
        '[{"name":"f","parametersJsonSchema":{ "type":"object","x":1.50 }}]}]}'
    )
    assert bytes(found.tools[0].parameters or b"") == b'{ "type":"object","x":1.50 }'


def test_what_a_declaration_says_of_its_answer_is_announced() -> None:
    function = {"name": "f", "response_json_schema": SCHEMA, "behavior": "NON_BLOCKING"}
    found = decoded(tools=[{"functionDeclarations": [function]}])
    assert found.dropped == ["response", "behavior"]


def test_options_of_the_search_are_announced() -> None:
    found = decoded(tools=[{"google_search": {"exclude_domains": ["a"], "searchTypes": {}}}])
    assert found.web_search == ir.WebSearch()
    assert found.dropped == ["excludeDomains"]


@pytest.mark.parametrize(
    ("tools", "place"),
    [
        ("3", "tools"),
        ("[3]", r"tools\[0\]"),
        ('[{"functionDeclarations":3}]', r"tools\[0\]\.functionDeclarations"),
        ('[{"functionDeclarations":[3]}]', r"tools\[0\]\.functionDeclarations\[0\]"),
        ('[{},{"functionDeclarations":[{}]}]', r"tools\[1\]\.functionDeclarations\[0\]\.name"),
        ('[{"functionDeclarations":[{"name":3}]}]', r"tools\[0\].*\.name"),
        ('[{"functionDeclarations":[{"name":"f","parameters":[]}]}]', r"tools\[0\].*\.parameters"),
        (
            '[{"functionDeclarations":[{"name":"f","parametersJsonSchema":true}]}]',
            r"tools\[0\].*\.parametersJsonSchema",
        ),
        ('[{"googleSearch":3}]', "googleSearch"),
    ],
)
def test_tools_of_another_shape_are_refused_by_their_place(tools: str, place: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{place}"):
        decoded_text(f'{{"contents":[{TURN}],"tools":{tools}}}')


@pytest.mark.parametrize(
    ("calling", "choice"),
    [
        ({"mode": "AUTO"}, ir.ToolChoice("auto")),
        ({"mode": "auto"}, ir.ToolChoice("auto")),
        ({"mode": "ANY"}, ir.ToolChoice("required")),
        ({"mode": "NONE", "allowedFunctionNames": ["f"]}, ir.ToolChoice("none")),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, ir.ToolChoice("required", ("f",))),
        (
            {"mode": "ANY", "allowed_function_names": ["f", "g"]},
            ir.ToolChoice("required", ("f", "g")),
        ),
        ({"mode": "AUTO", "allowedFunctionNames": ["f"]}, ir.ToolChoice("auto", ("f",))),
        ({"mode": "MODE_UNSPECIFIED"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_choice_among_tools(calling: Body | None, choice: ir.ToolChoice | None) -> None:
    found = decoded(tool_config={"function_calling_config": calling})
    assert found.tool_choice == choice
    assert found.dropped == []


def test_that_calls_be_validated_is_a_choice_whose_promise_is_announced() -> None:
    found = decoded(toolConfig={"functionCallingConfig": {"mode": "VALIDATED"}})
    assert found.tool_choice == ir.ToolChoice("auto")
    assert found.dropped == ["mode"]


@pytest.mark.parametrize(
    "calling", [{"mode": "SOMETIMES"}, {"mode": 3}, {"allowedFunctionNames": "f"}, [], "ANY"]
)
def test_a_choice_of_another_shape_is_refused(calling: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^toolConfig\.functionCallingConfig"):
        decoded(toolConfig={"functionCallingConfig": calling})

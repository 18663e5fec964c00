"""The history of the dynamic routes, and the file that keeps it."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrouter.errors import InvalidRequest, NotFound
from bitrouter.routing.dynamic import (
    MAX_CHANGES,
    Change,
    DynamicRoute,
    History,
    decode_routes,
    encode_routes,
    undo,
)
from tests.support.routes import endpoint

NAMES = ("a", "b", "team/c", "w/*")


def routes(**models: str) -> dict[str, DynamicRoute]:
    return {name: DynamicRoute(name, (endpoint(key),)) for name, key in models.items()}


def after(
    history: History, before: Mapping[str, DynamicRoute], now: Mapping[str, DynamicRoute]
) -> History:
    """The history after the routes have become those of `now`."""
    change = Change(
        version=history.version + 1,
        time="2026-11-23T00:00:00.000Z",
        action="set",
        by="127.0.0.1",
        undo=undo(before, now),
    )
    return history.with_change(change)


states = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(("p:1", "p:2", "q:1")))


@given(st.lists(states.map(lambda models: routes(**models)), max_size=8))
def test_every_version_that_is_kept_can_be_gone_back_to_also_from_the_file(
    versions: list[dict[str, DynamicRoute]],
) -> None:
    history, now = History(), routes()
    for following in versions:
        history, now = after(history, now, following), following

    found, kept = decode_routes(encode_routes(now, history))

    assert (found, kept) == (now, history)
    for number, expected in enumerate([{}, *versions][:-1] if versions else []):
        assert kept.routes_at(number, found) == expected


def test_so_many_changes_are_kept_and_no_more() -> None:
    history, now = History(), routes()
    for number in range(MAX_CHANGES + 5):
        following = routes(a=f"p:{number}")
        history, now = after(history, now, following), following

    assert (history.version, len(history.changes), history.oldest) == (105, 100, 5)
    assert history.routes_at(5, now) == routes(a="p:4")
    with pytest.raises(NotFound, match="no version 4 to go back to; there is 5 to 104"):
        history.routes_at(4, now)


def test_where_one_cannot_go_back_to_is_told() -> None:
    with pytest.raises(InvalidRequest, match="the routes are at version 0"):
        History().routes_at(0, {})
    with pytest.raises(NotFound, match="there is none, because nothing was changed yet"):
        History().routes_at(-1, {})
    one = after(History(), {}, routes(a="p:1"))
    with pytest.raises(NotFound, match=r"no version 2 to go back to; there is 0$"):
        one.routes_at(2, routes(a="p:1"))


def test_a_file_of_an_earlier_release_has_no_history() -> None:
    content = json.dumps(
        {"routes": [{"model": "a", "endpoints": [{"provider": "p", "model_id": "1"}]}]}
    )
    assert decode_routes(content.encode()) == (routes(a="p:1"), History())


def test_a_history_with_a_gap_is_no_history() -> None:
    history = after(after(History(), {}, routes(a="p:1")), routes(a="p:1"), {})
    content = json.loads(encode_routes({}, history))
    content["version"] = 7
    with pytest.raises(ValueError, match="its history has gaps"):
        decode_routes(json.dumps(content).encode())

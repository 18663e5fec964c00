"""The page about compatibility says what the tests assert."""

from tests.matrix.compatibility import PAGE, render
from tests.matrix.feature import Feature
from tests.matrix.features import all_features
from tests.matrix.outcome import CLIENTS, UPSTREAMS


def test_the_page_is_what_make_compatibility_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run `make compatibility`"


def _odd_cells(one: Feature) -> set[tuple[str, str]]:
    return {
        (client, upstream)
        for client in one.clients
        for upstream in UPSTREAMS
        if one.outcome(client, upstream).kind != "full"
    }


def test_nothing_is_declared_for_a_cell_that_is_not_tried() -> None:
    for one in all_features():
        declared = {cell for cell, outcome in one.between.items() if outcome.kind != "full"}
        assert declared <= _odd_cells(one), one.title
        assert set(one.to) <= set(UPSTREAMS), one.title


def test_every_client_and_every_upstream_is_in_the_matrix() -> None:
    for client in CLIENTS:
        for upstream in UPSTREAMS:
            full = [one for one in all_features() if one.outcome(client, upstream).kind == "full"]
            assert len(full) > len(all_features()) / 2, (client, upstream)

"""How long a provider asks to be left alone."""

import pytest
from multidict import CIMultiDict

from bitrouter.upstream.retry_after import retry_after_s

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": " 12 "}, 12),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "86400"}, 86_400),
        ({"Retry-After": "86401"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "+3"}, None),
        ({"Retry-After": "1e2"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "\u0663"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30),
        ({"Retry-After": "Tuesday, 14-Nov-23 22:13:50 GMT"}, 30),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:19 GMT"}, None),
        ({"Retry-After": "Tue, 14 Nov 9999 22:13:50 GMT"}, None),
        ({"Retry-After": "Tue, 99 Nov 2023 22:13:50 GMT"}, None),
        ({"Retry-After-Ms": "250"}, 0.25),
        ({"Retry-After-Ms": "250", "Retry-After": "900"}, 0.25),
        ({"Retry-After-Ms": "soon", "Retry-After": "9"}, 9),
        ({"Retry-After-Ms": "999999999"}, None),
    ],
)
def test_what_is_said_and_makes_sense_is_seconds(
    headers: dict[str, str], expected: float | None
) -> None:
    assert retry_after_s(CIMultiDict(headers), NOW) == expected

"""Fixtures for tests of the running router."""

import pytest

from tests.support.dialects import DIALECTS, Dialect


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each protocol in turn."""
    found: Dialect = request.param
    return found

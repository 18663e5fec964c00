"""What the tests of the admin API start from."""

import pytest

from tests.conftest import StartRouter
from tests.support.dialects import CHAT, settings
from tests.support.router import RunningRouter
from tests.support.upstream import Reply, ScriptedUpstream


@pytest.fixture
async def router(start_router: StartRouter, upstream: ScriptedUpstream) -> RunningRouter:
    """A router without an admin token, with the provider `p1` and the route `m`."""
    upstream.script = Reply((CHAT.answer,))
    return await start_router(settings(CHAT, upstream.url))

"""Four providers for tests, each as strict as the service that it stands for.

They listen on a real socket, refuse what the vendor refuses, with the vendor's status and words,
and answer in the vendor's whole wire shape. What they say is chosen by a marker in the conversation
(`script`), so they need no state but what they have issued: ids, and keys to sign with.
"""

from typing import Final

from tests.support.strict.anthropic.provider import AnthropicProvider
from tests.support.strict.chat.provider import ChatProvider
from tests.support.strict.google.provider import GoogleProvider
from tests.support.strict.provider import StrictProvider
from tests.support.strict.responses.provider import ResponsesProvider

PROVIDERS: Final[tuple[type[StrictProvider], ...]] = (
    ChatProvider,
    ResponsesProvider,
    AnthropicProvider,
    GoogleProvider,
)

"""The mark on what chat has no field for and is written into its answers all the same.

Another vendor's thinking goes to a chat client as `reasoning_content`, Google's signature of a call
as `extra_content.google`. Clients that replay a whole message bring both back, and OpenAI refuses
them. The mark says that they are not the client's own nor its provider's, so that they may be taken
out again (foreign.py). It is `extra_content.bitrouter`, of the message and of the call. Clients
that collect a stream join strings, so there it is never said twice. Source: protocols.md, 2.5, 3.4.
"""

from typing import Any, Final

import msgspec

from bitrouter.ir import Signature
from bitrouter.protocols.base import decode_part
from bitrouter.protocols.chat.types import google_extra
from bitrouter.protocols.continuity import MARK

EXTRA: Final = "extra_content"
_NAME: Final = "bitrouter"

MARKED: Final = {EXTRA: {_NAME: MARK}}
"""What stands beside `reasoning_content`."""

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_string: Final = msgspec.json.Decoder(str)


def marked_extra(signature: Signature | None) -> dict[str, Any]:
    """See types.google_extra: the same with the mark."""
    extra = google_extra(signature)
    return {EXTRA: {**extra[EXTRA], _NAME: MARK}} if extra else extra


def is_marked(extra: msgspec.Raw) -> bool:
    """Whether a client's `extra_content` has the mark."""
    members = decode_part(_members, extra)
    carried = decode_part(_string, members[_NAME]) if members and _NAME in members else None
    return carried is not None and carried.startswith(MARK)


def is_mark(extra: msgspec.Raw) -> bool:
    """Whether a client's `extra_content` is the mark and nothing else."""
    return is_marked(extra) and len(_members.decode(extra)) == 1

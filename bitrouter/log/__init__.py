"""Log lines on stderr: text for people, JSON for machines, one line each.

Nothing that a client or an upstream wrote gets in unescaped, and no prompt, answer or credential
gets in at all. A *request line* tells of one finished request; its *listeners* are told of each.
*Repeats* of a warning are left out and counted; the *outlet* writes, so that nobody else waits.
"""

from bitrouter.log.message import MessageWriter, log_message, message_listeners
from bitrouter.log.request import RequestLine, RequestWriter, listeners, log_request
from bitrouter.log.setup import describe_fault, dropped_lines, flush, set_up, tell_repeats

__all__ = [
    "MessageWriter",
    "RequestLine",
    "RequestWriter",
    "describe_fault",
    "dropped_lines",
    "flush",
    "listeners",
    "log_message",
    "log_request",
    "message_listeners",
    "set_up",
    "tell_repeats",
]

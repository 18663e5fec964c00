"""The client of the payments' bench: each connection a wallet, each request a payment of its own.

Run as `python -m bench.customer PORT LOAD`, the load as JSON. It asks for the terms, signs all that
it will need, warms up and writes a line; for each line on its input it sends its requests and
writes a line. A wrong answer ends it.
"""

import asyncio
import base64
import sys
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
import orjson
import uvloop

from bench import brief, chat
from bench.content import STAMP, question
from bench.http1 import http_request
from bench.load import Client, allow_descriptors
from bench.wallet import Wallet
from bitrouter.payments.verify import check_payment  # noqa: F401 - placeholder

_ANSWER_WITHIN_S: Final = 30.0

"""Google's generateContent, on the Gemini API."""

import json
import re
from typing import Any, Final

from tests.support.strict.google.read import read
from tests.support.strict.google.write import event, stream, whole
from tests.support.strict.provider import Answer, Asked, StrictProvider
from tests.support.strict.refused import Kind, Refused
from tests.support.strict.script import Step
from tests.support.strict.seen import Seen

_PATH: Final = re.compile(
    r"/v1(?:beta)?/models/([a-z0-9.-]+):(generateContent|streamGenerateContent)"
)
_MODELS: Final = ("gemini-2.0", "gemini-2.5", "gemini-3")
_ERRORS: Final[dict[Kind, tuple[int, str]]] = {
    "invalid": (400, "INVALID_ARGUMENT"),
    "auth": (400, "INVALID_ARGUMENT"),
    "forbidden": (403, "PERMISSION_DENIED"),
    "not_found": (404, "NOT_FOUND"),
    "too_large": (400, "INVALID_ARGUMENT"),
    "rate_limit": (429, "RESOURCE_EXHAUSTED"),
    "internal": (500, "INTERNAL"),
    "overloaded": (503, "UNAVAILABLE"),
}
_RPC: Final = "type.googleapis.com/google.rpc"


class GoogleProvider(StrictProvider):
    """Listens at `/v1beta/models/…` and `/v1/models/…`."""

    name = "google"
    api_protocol = "google"
    key = "AIza-upstream"

    def check_caller(self, asked: Asked) -> None:
        """See StrictProvider.check_caller."""
        foreign = {"authorization", "x-api-key", "api-key"} & {
            name.lower() for name in asked.headers
        }
        if asked.headers.get("x-goog-api-key") != self.key or foreign or "key" in asked.query:
            raise Refused("API key not valid. Please pass a valid API key.", kind="auth")

    def read(self, asked: Asked) -> Seen:
        """See StrictProvider.read."""
        found = _PATH.fullmatch(asked.path)
        if found is None or not found[1].startswith(_MODELS):
            raise Refused(f"{asked.path} is not found for API version v1beta", kind="not_found")
        streamed = found[2] == "streamGenerateContent"
        if streamed and asked.query.get("alt") != "sse":
            raise Refused("this provider streams only server-sent events")
        return read(asked.body, found[1], streamed, self.signer)

    def answer(self, step: Step, seen: Seen, asked: Asked) -> Answer:
        """See StrictProvider.answer."""
        if not seen.stream:
            return self.whole(whole(step, seen, self.new_id, self.signer), step)
        error = event(_error(step.fault.refused)) if step.fault is not None else b""
        return self.streamed(stream(step, seen, self.new_id, self.signer), step, error)

    def refuse(self, refused: Refused, asked: Asked) -> Answer:
        """See StrictProvider.refuse. A stream's error is in an array."""
        status, _ = _ERRORS[refused.kind]
        body: Any = _error(refused)
        if ":stream" in asked.path and asked.query.get("alt") != "sse":
            body = [body]
        return Answer([json.dumps(body).encode()], status=status)


def _error(refused: Refused) -> dict[str, Any]:
    code, status = _ERRORS[refused.kind]
    details: list[dict[str, Any]] = []
    if refused.kind == "auth":
        details.append({"@type": f"{_RPC}.ErrorInfo", "reason": "API_KEY_INVALID"})
    if refused.retry_after_s is not None:
        delay = f"{refused.retry_after_s}s"
        details.append({"@type": f"{_RPC}.RetryInfo", "retryDelay": delay})
    error: dict[str, Any] = {"code": code, "message": refused.message, "status": status}
    return {"error": {**error, "details": details} if details else error}

"""Anthropic's Messages."""

import json
from typing import Any, Final

from tests.support.strict.anthropic.read import read
from tests.support.strict.anthropic.write import event, message, stream
from tests.support.strict.provider import Answer, Asked, StrictProvider
from tests.support.strict.refused import Kind, Refused
from tests.support.strict.script import Step
from tests.support.strict.seen import Seen

_ERRORS: Final[dict[Kind, tuple[int, str]]] = {
    "invalid": (400, "invalid_request_error"),
    "auth": (401, "authentication_error"),
    "forbidden": (403, "permission_error"),
    "not_found": (404, "not_found_error"),
    "too_large": (413, "request_too_large"),
    "rate_limit": (429, "rate_limit_error"),
    "internal": (500, "api_error"),
    "overloaded": (529, "overloaded_error"),
}


class AnthropicProvider(StrictProvider):
    """Listens at `/v1/messages`."""

    name = "anthropic"
    api_protocol = "anthropic"
    key = "sk-ant-upstream"

    def check_caller(self, asked: Asked) -> None:
        """See StrictProvider.check_caller."""
        foreign = {"authorization", "x-goog-api-key", "api-key"} & {
            name.lower() for name in asked.headers
        }
        if asked.headers.get("x-api-key") != self.key or foreign or "key" in asked.query:
            raise Refused("invalid x-api-key", kind="auth")
        if asked.headers.get("anthropic-version") not in ("2023-06-01", "2026-10-21"):
            raise Refused("anthropic-version: header is required")

    def read(self, asked: Asked) -> Seen:
        """See StrictProvider.read."""
        if asked.path != "/v1/messages":
            raise Refused("Not Found", kind="not_found")
        return read(asked.body, self.signer)

    def answer(self, step: Step, seen: Seen, asked: Asked) -> Answer:
        """See StrictProvider.answer."""
        if not seen.stream:
            return self.whole(message(step, seen, self.new_id, self.signer), step)
        error = event(_error(step.fault.refused)) if step.fault is not None else b""
        return self.streamed(stream(step, seen, self.new_id, self.signer), step, error)

    def refuse(self, refused: Refused, asked: Asked) -> Answer:
        """See StrictProvider.refuse."""
        status, _ = _ERRORS[refused.kind]
        headers = {"request-id": "req_upstream"}
        if refused.retry_after_s is not None:
            headers["retry-after"] = str(refused.retry_after_s)
        body = {**_error(refused), "request_id": "req_upstream"}
        return Answer([json.dumps(body).encode()], status=status, headers=headers)


def _error(refused: Refused) -> dict[str, Any]:
    _, kind = _ERRORS[refused.kind]
    return {"type": "error", "error": {"type": kind, "message": refused.message}}

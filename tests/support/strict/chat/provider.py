"""OpenAI's Chat Completions."""

import json
from typing import Any, Final

from tests.support.strict.chat.read import read
from tests.support.strict.chat.write import stream, whole
from tests.support.strict.provider import Answer, Asked, StrictProvider
from tests.support.strict.refused import Kind, Refused
from tests.support.strict.script import Step
from tests.support.strict.seen import Seen

_ERRORS: Final[dict[Kind, tuple[int, str]]] = {
    "invalid": (400, "invalid_request_error"),
    "auth": (401, "invalid_request_error"),
    "forbidden": (403, "insufficient_permissions"),
    "not_found": (404, "invalid_request_error"),
    "too_large": (413, "invalid_request_error"),
    "rate_limit": (429, "requests"),
    "internal": (500, "server_error"),
    "overloaded": (503, "server_error"),
}
_FOREIGN: Final = ("x-api-key", "x-goog-api-key", "api-key", "anthropic-version")


def check_bearer(asked: Asked, key: str) -> None:
    """Raise Refused unless the caller presents `key` as a bearer token, and no other credential."""
    foreign = [name for name in _FOREIGN if name in asked.headers]
    if asked.headers.get("Authorization") != f"Bearer {key}" or foreign or "key" in asked.query:
        raise Refused(
            "Incorrect API key provided. You can find your API key at"
            " https://platform.openai.com/account/api-keys.",
            kind="auth",
            code="invalid_api_key",
        )


def openai_error(refused: Refused) -> dict[str, Any]:
    """The body of an error."""
    _, kind = _ERRORS[refused.kind]
    error = {"message": refused.message, "type": kind, "param": refused.param}
    return {"error": {**error, "code": refused.code}}


def openai_refusal(refused: Refused) -> Answer:
    """The answer to a request that is not taken."""
    status, _ = _ERRORS[refused.kind]
    headers = {"x-request-id": "req_upstream"}
    if refused.retry_after_s is not None:
        headers["retry-after"] = str(refused.retry_after_s)
    return Answer([json.dumps(openai_error(refused)).encode()], status=status, headers=headers)


class ChatProvider(StrictProvider):
    """Listens at `/v1/chat/completions`."""

    name = "chat"
    api_protocol = "openai"
    key = "sk-chat-upstream"

    def check_caller(self, asked: Asked) -> None:
        """See StrictProvider.check_caller."""
        check_bearer(asked, self.key)

    def read(self, asked: Asked) -> Seen:
        """See StrictProvider.read."""
        if asked.path != "/v1/chat/completions":
            raise Refused(f"Unknown request URL: POST {asked.path}", kind="not_found")
        return read(asked.body)

    def answer(self, step: Step, seen: Seen, asked: Asked) -> Answer:
        """See StrictProvider.answer."""
        if not seen.stream:
            return self.whole(whole(step, seen, self.new_id), step)
        error = b""
        if step.fault is not None:
            error = f"data: {json.dumps(openai_error(step.fault.refused))}\n\n".encode()
        return self.streamed(stream(step, seen, self.new_id), step, error)

    def refuse(self, refused: Refused, asked: Asked) -> Answer:
        """See StrictProvider.refuse."""
        return openai_refusal(refused)

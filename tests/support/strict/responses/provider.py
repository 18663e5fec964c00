"""OpenAI's Responses."""

from tests.support.strict.chat.provider import check_bearer, openai_refusal
from tests.support.strict.provider import Answer, Asked, StrictProvider
from tests.support.strict.refused import Refused
from tests.support.strict.responses.read import read
from tests.support.strict.responses.write import event, items, response, stream
from tests.support.strict.script import Step
from tests.support.strict.seen import Seen, SeenCall, SeenTurn


class ResponsesProvider(StrictProvider):
    """Listens at `/v1/responses`. What a request lets it store can be referred to."""

    name = "responses"
    api_protocol = "responses"
    key = "sk-responses-upstream"

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[str, list[SeenTurn]] = {}

    def check_caller(self, asked: Asked) -> None:
        """See StrictProvider.check_caller."""
        check_bearer(asked, self.key)

    def read(self, asked: Asked) -> Seen:
        """See StrictProvider.read."""
        if asked.path != "/v1/responses":
            raise Refused(f"Unknown request URL: POST {asked.path}", kind="not_found")
        return read(asked.body, self.signer, self.stored)

    def answer(self, step: Step, seen: Seen, asked: Asked) -> Answer:
        """See StrictProvider.answer."""
        output = list(items(step, seen, self.new_id, self.signer))
        whole = response(step, seen, asked.body, self.new_id("resp_"), output)
        if seen.settings["store"]:
            calls = [
                SeenCall(item["call_id"], call.name, dict(call.arguments))
                for item, call in zip(
                    (item for item in output if "call_id" in item), step.calls, strict=False
                )
            ]
            said = SeenTurn("assistant", [*([step.text] if step.text else []), *calls])
            self.stored[whole["id"]] = [*seen.turns, said]
        if not seen.stream:
            return self.whole(whole, step)
        error = b""
        if step.fault is not None:
            code = step.fault.code or "server_error"
            if step.fault.kind == "rate_limit":
                code = "rate_limit_exceeded"
            error = event(
                {"type": "error", "code": code, "message": step.fault.message, "param": None}, 0
            )
        return self.streamed(stream(whole, self.signer), step, error)

    def refuse(self, refused: Refused, asked: Asked) -> Answer:
        """See StrictProvider.refuse."""
        return openai_refusal(refused)

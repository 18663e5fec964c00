"""Chat Completions: what the provider of the bench speaks, and its clients where nothing is
translated. Fixed bytes, the same on every run.
"""

from typing import Final

from bench.content import (
    ANSWER,
    ANSWER_TOKENS,
    INPUT_TOKENS,
    MAX_TOKENS,
    MODEL,
    SYSTEM,
    TEMPERATURE,
    UPSTREAM_MODEL,
    WORD,
    WORDS,
)

PATH: Final = "/v1/chat/completions"
HEADER_LINES: Final = b"Authorization: Bearer bench\r\n"


def request_body(question: str, *, stream: bool) -> bytes:
    """Two messages, the second of them `question`."""
    return (
        f'{{"model":"{MODEL}","messages":[{{"role":"system","content":"{SYSTEM}"}},'
        f'{{"role":"user","content":"{question}"}}],"max_tokens":{MAX_TOKENS},'
        f'"temperature":{TEMPERATURE},"stream":{"true" if stream else "false"}}}'
    ).encode()


def is_answer(body: bytes, *, stream: bool) -> bool:
    """Whether it is what the provider said, to the byte."""
    return body == (WHOLE_STREAM if stream else WHOLE)


def _usage(output_tokens: int) -> str:
    return (
        f'"usage":{{"prompt_tokens":{INPUT_TOKENS},"completion_tokens":{output_tokens},'
        f'"total_tokens":{INPUT_TOKENS + output_tokens},"prompt_tokens_details":'
        '{"cached_tokens":0}}'
    )


WHOLE: Final = (
    f'{{"id":"chatcmpl-bench","object":"chat.completion","created":1760000000,'
    f'"model":"{UPSTREAM_MODEL}","choices":[{{"index":0,"message":{{"role":"assistant",'
    f'"content":"{ANSWER}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],'
    f'{_usage(ANSWER_TOKENS)},"system_fingerprint":null}}'
).encode()


def _event(choice: str, more: str = "") -> bytes:
    return (
        'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1760000000,'
        f'"model":"{UPSTREAM_MODEL}","system_fingerprint":null,'
        f'"choices":[{{"index":0,{choice}}}]{more}}}\n\n'
    ).encode()


EVENTS: Final = (
    *[_event(f'"delta":{{"content":"{WORD}"}},"logprobs":null,"finish_reason":null')] * WORDS,
    _event('"delta":{},"logprobs":null,"finish_reason":"stop"', f",{_usage(WORDS)}"),
    b"data: [DONE]\n\n",
)
WHOLE_STREAM: Final = b"".join(EVENTS)

"""Answers that were paid for, kept for who asks again."""

import pytest

from bitrouter.errors import PaymentConflict
from bitrouter.payments import repeats as module
from bitrouter.payments.repeats import Repeats

NAME = "my-call-0123456789"


@pytest.fixture
def kept() -> Repeats[str]:
    return Repeats()


async def test_what_is_new_is_not_known(kept: Repeats[str]) -> None:
    assert kept.find("0xaa", NAME, "payment", b"request", 0) is None


async def test_the_same_payment_for_the_same_request_gets_the_same_answer(
    kept: Repeats[str],
) -> None:
    kept.begin("0xaa", NAME, "payment", b"request", 0)
    found = kept.find("0xaa", NAME, "payment", b"request", 1)
    assert found is not None
    assert not found.answer.done(), "it waits for the first"
    kept.end("0xaa", NAME, "answer", 6)
    assert await found.answer == "answer"


@pytest.mark.parametrize(("payment", "digest"), [("other", b"request"), ("payment", b"other")])
async def test_a_name_stands_for_one_payment_and_one_request(
    kept: Repeats[str], payment: str, digest: bytes
) -> None:
    kept.begin("0xaa", NAME, "payment", b"request", 0)
    with pytest.raises(PaymentConflict):
        kept.find("0xaa", NAME, payment, digest, 1)
    assert kept.same("0xaa", NAME, payment, digest, 1) is None


async def test_a_name_is_the_payers_own(kept: Repeats[str]) -> None:
    kept.begin("0xaa", NAME, "payment", b"request", 0)
    assert kept.find("0xbb", NAME, "other", b"request", 1) is None


async def test_a_call_that_came_to_nothing_may_be_made_anew(kept: Repeats[str]) -> None:
    kept.begin("0xaa", NAME, "payment", b"request", 0)
    found = kept.find("0xaa", NAME, "payment", b"request", 1)
    kept.end("0xaa", NAME, None, 0)
    assert found is not None
    assert await found.answer is None
    assert kept.find("0xaa", NAME, "payment", b"request", 1) is None


async def test_of_a_stream_nothing_is_kept(kept: Repeats[str]) -> None:
    kept.begin("0xaa", NAME, "payment", b"request", 0)
    kept.end_unkept("0xaa", NAME)
    with pytest.raises(PaymentConflict):
        kept.find("0xaa", NAME, "payment", b"request", 1)
    assert kept.same("0xaa", NAME, "payment", b"request", 1) is None


async def test_it_is_kept_for_an_hour(kept: Repeats[str]) -> None:
    kept.begin("0xaa", NAME, "payment", b"request", 0)
    kept.end("0xaa", NAME, "answer", 6)
    assert kept.find("0xaa", NAME, "payment", b"request", 3599) is not None
    assert kept.find("0xaa", NAME, "payment", b"request", 3601) is None


async def test_the_oldest_goes_when_they_are_too_many(
    kept: Repeats[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_KEPT", 2)
    for number in range(3):
        kept.begin("0xaa", f"{NAME}{number}", "payment", b"request", 0)
        kept.end("0xaa", f"{NAME}{number}", "answer", 6)
    assert kept.find("0xaa", f"{NAME}0", "payment", b"request", 1) is None
    assert kept.find("0xaa", f"{NAME}2", "payment", b"request", 1) is not None


async def test_the_oldest_goes_when_they_are_too_large(
    kept: Repeats[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_BYTES", 10)
    for number in range(2):
        kept.begin("0xaa", f"{NAME}{number}", "payment", b"request", 0)
        kept.end("0xaa", f"{NAME}{number}", "answer", 6)
    assert kept.find("0xaa", f"{NAME}0", "payment", b"request", 1) is None
    assert kept.find("0xaa", f"{NAME}1", "payment", b"request", 1) is not None

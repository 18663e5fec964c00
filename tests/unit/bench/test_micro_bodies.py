"""The bench of large bodies runs, on bodies of the size that it says."""

import msgspec

from bench.micro.bodies import contents, measure_all, request_body, table

SIZE = 20_000


def test_every_content_is_measured() -> None:
    costs = measure_all(kb=SIZE // 1000, repeats=1)

    assert [cost.content for cost in costs] == [*contents(SIZE)]
    assert all(
        min(cost.read_us, cost.mark_us, cost.mark_in_base64_us, cost.replace_us) > 0
        for cost in costs
    )
    assert len([*table(costs)]) == 2 + len(costs)


def test_bodies_are_of_the_size_that_is_asked_for_and_valid() -> None:
    for messages in contents(SIZE).values():
        body = request_body(messages)

        assert 0.9 * SIZE < len(body) < 1.1 * SIZE
        assert msgspec.json.decode(body)["messages"] == messages

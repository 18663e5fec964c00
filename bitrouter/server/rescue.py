"""Finishing a stream that broke off, with the next endpoint of its route (docs/rescue.md)."""

import asyncio
import copy
import functools
import logging
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from bitrouter.config.schema import Duration
from bitrouter.errors import (
    AllResting,
    AnswerDiffers,
    BadResponse,
    InvalidRequest,
    Rejected,
    RouterError,
    StreamFailed,
    UpstreamError,
    is_worth_elsewhere,
    refuses_content,
)
from bitrouter.exchange.exchange import Exchange
from bitrouter.exchange.inquiry import Inquiry
from bitrouter.exchange.rescue import (
    RescuedStream,
    begin_fresh,
    begin_prefilled,
    begin_rescuable,
    can_prefill,
    parts_of,
)
from bitrouter.exchange.splice import Joint, SoFar
from bitrouter.protocols.passthrough import cut_stream
from bitrouter.routing.breaker import State
from bitrouter.routing.table import Endpoint, Route
from bitrouter.server.aside import take
from bitrouter.server.attempt import ask
from bitrouter.server.record import Record
from bitrouter.server.relay import TRUNCATED, StreamAnswer, WholeAnswer
from bitrouter.server.services import Services
from bitrouter.upstream.budget import RetryBudget
from bitrouter.upstream.deadline import Deadline
from bitrouter.upstream.failover import AttemptsFailed, Rules, first_answer

_log: Final = logging.getLogger("bitrouter")


class Rescue:
    """The rescue of one request: who was asked, and what the client was told. See relay.Rescue.

    `endpoints` are those of the request, in the order in which they are asked. Nobody is asked by
    it who has failed in this request before, be it that his stream broke off.
    """

    def __init__(
        self,
        services: Services,
        inquiry: Inquiry,
        record: Record,
        route: Route,
        endpoints: Sequence[Endpoint],
        rules: Rules,
        deadline: Deadline,
    ) -> None:
        self._services = services
        self._inquiry = inquiry
        self._record = record
        self._route = route
        self._endpoints = endpoints
        self._rules = rules
        self._deadline = deadline
        self._asked: set[str] = set()
        self._so_far: SoFar | None = None
        self._stream: RescuedStream | None = None
        self._until = 0.0  # the loop's time at which the answer as a whole has to be there
        self._failure: RouterError | None = None

    # -- the first endpoint -----------------------------------------------------------------

    async def ask_first(self, endpoint: Endpoint) -> WholeAnswer | StreamAnswer:
        """See attempt.ask. The stream is one that can be finished by another endpoint."""
        self._asked.add(endpoint.key)
        begin = functools.partial(begin_rescuable, self._inquiry)
        return await ask(self._services, self._inquiry, self._deadline, endpoint, begin=begin)

    def watch(self, answer: StreamAnswer, endpoint: Endpoint) -> StreamAnswer:
        """The answer, of `endpoint`, with this to rescue it."""
        stream = answer.transform
        if not isinstance(stream, RescuedStream) or not isinstance(stream.told_by, SoFar):
            return answer
        self._stream, self._so_far = stream, stream.told_by
        total_s = endpoint.timeouts.stream_total
        self._until = asyncio.get_running_loop().time() + total_s
        return msgspec.structs.replace(answer, rescue=self)

    # -- the next ---------------------------------------------------------------------------

    @property
    def failure(self) -> RouterError:
        """Why the first stream broke off."""
        return self._failure or cut_stream()

    def last_words(self) -> bytes:
        """The error event for that."""
        return self._so_far.fail(self.failure) if self._so_far is not None else b""

    async def successor(self, error: RouterError | None) -> StreamAnswer | None:
        """What goes on with the answer, whose stream has ended, by `error` if there was one. None
        if nobody can.
        """
        so_far, stream = self._so_far, self._stream
        if so_far is None or stream is None:
            return None
        failure = stream.lost or error or cut_stream()
        if error is None and isinstance(failure, BadResponse):
            failure.outcome = TRUNCATED  # it had begun well
        if self._failure is None:
            self._failure = failure
        if not (so_far.plain and _is_worth_elsewhere(failure)):
            return None
        for endpoint in self._left():
            self._asked.add(endpoint.key)
            found = await self._go_on(endpoint, so_far, stream)
            if isinstance(found, StreamAnswer):
                self._take_over(endpoint, failure)
                return found
            if refuses_content(found.code):
                return None  # that is an answer; asking somebody else would be to route around it
        return None

    def _left(self) -> Iterator[Endpoint]:
        """Who can still be asked, as long as anybody may be."""
        for endpoint in self._endpoints:
            if not self._may_ask():
                return
            if endpoint.key not in self._asked:
                yield endpoint

    def _may_ask(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._record.attempts < self._rules.max_attempts and now < self._until

    async def _go_on(
        self, endpoint: Endpoint, so_far: SoFar, stream: RescuedStream
    ) -> StreamAnswer | RouterError:
        """What one endpoint gives, or why it gives nothing."""
        text = so_far.text
        given, expected = parts_of(text)
        if self._route.rescue == "continue" and given and can_prefill(self._inquiry, endpoint):
            joint = Joint(so_far, expected, stream.usage)
            begin = functools.partial(begin_prefilled, joint, given, self._inquiry)
            found = await self._attempt(endpoint, joint, begin)
            if not (isinstance(found, RouterError) and _may_be_the_prefill(found)):
                return found
            if not self._may_ask():
                return found
        joint = Joint(so_far, text, None)
        return await self._attempt(
            endpoint, joint, functools.partial(begin_fresh, joint, self._inquiry)
        )

    async def _attempt(
        self, endpoint: Endpoint, joint: Joint, begin: "functools.partial[Exchange]"
    ) -> StreamAnswer | RouterError:
        """One attempt, by the rules of all attempts but that it is not repeated."""
        now = asyncio.get_running_loop().time()
        within_s, timer = self._route.within_s, self._route.within_timer
        rules = msgspec.structs.replace(
            self._rules,
            max_attempts=1,
            budget=RetryBudget(0.0),  # it is no request of a client's, and no repeat
        )
        deadline = Deadline(min(now + within_s, self._until), within_s, timer)
        only = (_until(endpoint, self._until - now),)
        ask_it = functools.partial(self._ask, joint, begin, deadline)
        try:
            answer, _, made = await first_answer(only, ask_it, rules, deadline)
        except AttemptsFailed as failed:
            self._record.attempts += failed.attempts
            return failed.last
        except (AllResting, InvalidRequest) as error:  # it was not asked
            return error
        self._record.attempts += made
        return answer

    async def _ask(
        self,
        joint: Joint,
        begin: "functools.partial[Exchange]",
        deadline: Deadline,
        endpoint: Endpoint,
    ) -> StreamAnswer:
        """Ask one endpoint, until its answer has come to where the client's ended. Raises what
        `ask` raises, and AnswerDiffers.
        """
        answer = await ask(self._services, self._inquiry, deadline, endpoint, begin=begin)
        stream = answer.transform if isinstance(answer, StreamAnswer) else None
        if not (isinstance(answer, StreamAnswer) and isinstance(stream, RescuedStream)):
            raise BadResponse("the upstream's answer is no stream")
        try:
            ended = await _join(answer, stream, joint)
        except BaseException:
            answer.upstream.close()
            raise
        self._stream = stream
        # And nothing else of what it noted: the client's first byte was long ago.
        self._record.upstream_request_id = answer.notes.upstream_request_id
        return msgspec.structs.replace(answer, opening=joint.commit(), ended=ended)

    def _take_over(self, endpoint: Endpoint, failure: RouterError) -> None:
        """From here on the answer is `endpoint`'s. That of the one before was its failure."""
        record = self._record
        if record.endpoint is not None:
            now = asyncio.get_running_loop().time()
            self._rules.report.rescued(record.endpoint)
            if self._services.breakers.failed(record.endpoint.key, now):
                self._rules.report.changed(record.endpoint, State.OPEN)
            _log.warning(
                "request %s: the stream of %s broke off (%s), %s goes on with it",
                *(record.request_id, record.endpoint.key, failure.logged, endpoint.key),
            )
        record.endpoint = endpoint


async def _join(answer: StreamAnswer, stream: RescuedStream, joint: Joint) -> bool:
    """Read until all that the client has was said again: whether the upstream has ended with it."""
    upstream, ended = answer.upstream, answer.ended
    while not joint.joined:
        if ended:
            raise AnswerDiffers("its answer is shorter than what the client was told already")
        chunk = await upstream.read_chunk(again=not stream.progressed)
        ended = not chunk
        await take(stream, chunk)
        if stream.lost is not None:
            raise stream.lost
    return ended


def _is_worth_elsewhere(failure: RouterError) -> bool:
    """Whether another endpoint may finish what ended like this. The router's own end is none of
    theirs, and who has had all the time for a stream has had it.
    """
    if isinstance(failure, StreamFailed):
        return is_worth_elsewhere(failure.status, failure.code)
    return isinstance(failure, UpstreamError) and failure.retryable


def _may_be_the_prefill(error: RouterError) -> bool:
    """Whether a request may have been refused for the turn that it ends with."""
    if isinstance(error, Rejected):
        return not (error.retryable or refuses_content(error.code))
    return isinstance(error, InvalidRequest)


def _until(endpoint: Endpoint, left_s: float) -> Endpoint:
    """The endpoint, which has for its part of the stream what is left of the time for all."""
    timeouts = endpoint.timeouts
    left = Duration(min(timeouts.stream_total, left_s))
    only = copy.copy(endpoint)
    only.timeouts = msgspec.structs.replace(timeouts, stream_total=left)
    return only

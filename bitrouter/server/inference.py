"""The request path: the one handler that every protocol's operations go through.

    read the body -> read its head -> resolve the route -> ask its endpoints in order ->
    commit -> relay -> tell metrics and log

Nothing is sent to the client before an endpoint's answer is certain, so that until then another
endpoint can be asked and an error can have its own status.
"""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from time import perf_counter
from typing import Final

from aiohttp import web

from bitrouter.access.credentials import find_credential, without_credentials
from bitrouter.errors import (
    InternalError,
    MethodNotAllowed,
    Overloaded,
    Rejected,
    RouterError,
    ServiceUnavailable,
    ShuttingDown,
    UpstreamError,
)
from bitrouter.exchange.choose import COUNT_TOKENS, candidates
from bitrouter.exchange.estimate import estimated_tokens, measure_if_quick
from bitrouter.exchange.inquiry import Inquiry
from bitrouter.exchange.rescue import is_rescuable
from bitrouter.metrics.store import OK
from bitrouter.protocols.base import CONTENT_TYPES, Framing, Operation
from bitrouter.protocols.codec import Codec
from bitrouter.routing.breaker import State
from bitrouter.routing.table import Endpoint, Route
from bitrouter.server.answers import (
    Headers,
    base_headers,
    error_answer,
    own_headers,
    request_id_of,
)
from bitrouter.server.aside import aside
from bitrouter.server.attempt import LARGE_PASSED, ask, is_large
from bitrouter.server.attemptlog import AttemptLog
from bitrouter.server.body import is_left_unread, read_json_body
from bitrouter.server.buffers import Lease
from bitrouter.server.connection import LastAnswer, has_stalled
from bitrouter.server.crossorigin import SHARED
from bitrouter.server.record import Notes, Record, count_stray
from bitrouter.server.relay import Answer, StreamAnswer, WholeAnswer, relay_stream, relay_whole
from bitrouter.server.rescue import Rescue
from bitrouter.server.services import Services
from bitrouter.upstream.deadline import Deadline
from bitrouter.upstream.failover import AttemptsFailed, Rules, first_answer

_NO_SUCH_PATH: Final = frozenset({404, 405, 501})
_BROKEN_OFF: Final = frozenset({"truncated", "upstream_error"})

_log: Final = logging.getLogger("bitrouter")

Attempt = Callable[[Endpoint], Awaitable[Answer]]


class Inference:
    """Serves the operations of all protocols."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._attempts = AttemptLog(services.metrics)
        self._loop = asyncio.get_running_loop()
        self._known_rules: dict[tuple[str, int], Rules] = {}

    async def handle(
        self, request: web.BaseRequest, codec: Codec, operation: Operation, path_model: str | None
    ) -> web.StreamResponse:
        """Answer one request, whatever happens, and account for it once."""
        record = Record(request_id_of(request), codec.name)
        services = self._services
        metrics = services.metrics
        metrics.inflight += 1
        task = request.task
        services.running.add(task)
        try:
            return await self._answer(request, codec, operation, path_model, record)
        except RouterError as error:
            return self._error(request, codec, error, record)
        except (ConnectionResetError, BrokenPipeError):
            record.outcome = "client_gone"
            raise
        except asyncio.CancelledError:
            if record.status or not services.is_ending() or task.uncancel():
                raise
            stopped = ShuttingDown("the router was stopped", retry_after_s=5)
            return self._error(request, codec, stopped, record)
        except Exception:
            _log.exception("request %s failed", record.request_id)
            fault = InternalError("an error of the router's own")
            if record.status:  # committed: nothing but an abrupt end would be true
                record.failed(fault)
                raise
            return self._error(request, codec, fault, record)
        finally:
            services.running.discard(task)
            metrics.inflight -= 1
            if record.outcome == "client_gone" and has_stalled(request):
                record.outcome = "timeout:write_stall"
            record.received = request.content.total_bytes
            record.sent += request.writer.output_size
            record.tell(metrics)
            services.recent.add(record)
            if services.draining and not metrics.inflight:
                services.idle.set()

    def count_stray(self, error: RouterError) -> None:
        """Count a request at a path that is nobody's."""
        count_stray(self._services.metrics, error)

    async def _answer(
        self,
        request: web.BaseRequest,
        codec: Codec,
        operation: Operation,
        path_model: str | None,
        record: Record,
    ) -> web.StreamResponse:
        """Find an answer and send it. The request's body is kept until there is one, and where a
        stream may have to be asked for again, until that has ended; a whole answer's until it is
        sent.
        """
        with Lease(self._services.buffers) as lease:
            answer = await self._find_answer(request, codec, operation, path_model, record, lease)
            if self._services.seller is not None:
                answer.headers.update(SHARED)
            if isinstance(answer, WholeAnswer):
                lease.hold(len(answer.body))
                return await relay_whole(request, answer, record)
            if answer.rescue is None:
                lease.end()
            out = await relay_stream(request, answer, record, self._services.why_ending)
            self._note_end(record)
            return out

    async def _find_answer(
        self,
        request: web.BaseRequest,
        codec: Codec,
        operation: Operation,
        path_model: str | None,
        record: Record,
        lease: Lease,
    ) -> WholeAnswer | StreamAnswer:
        """An answer of the first endpoint that gives one, ready to be sent. The body is counted by
        `lease`.
        """
        services = self._services
        record.outcome = "client_gone"  # what a cancellation while waiting means
        self._admit(request)
        header = Headers(request)
        query = request.rel_url.raw_query_string
        caller = services.caller(find_credential(header, query)) if services.asks_who else None
        record.key_id = caller.id if caller else None
        limits = services.routes.config.limits
        body = await read_json_body(request, limits.max_body_bytes, lease)
        record.read_at = perf_counter()
        query = without_credentials(query)
        if len(body) <= LARGE_PASSED:
            wanted = codec.read(operation, path_model, query, body)
        else:
            wanted = await aside(codec.read, operation, path_model, query, body)
        record.stream = wanted.stream
        route = services.routes.current.resolve(wanted.model)
        record.route = route
        inquiry = Inquiry(
            codec,
            wanted,
            header,
            request_id=record.request_id,
            owner=record.key_id or "",
            max_depth=limits.max_json_depth,
        )
        asked = candidates(route, codec, operation, services.balancer)
        seller = services.seller
        if not asked or (caller is None and seller is not None and operation.name == COUNT_TOKENS):
            return await _estimate(inquiry)  # which costs nobody anything
        if caller is None and seller is not None:
            ask_it = functools.partial(self._ask, inquiry, operation, route, asked, record)
            produce = functools.partial(_counted, ask_it, inquiry, lease)
            return await seller.sell(request, inquiry, produce)
        return await self._ask(inquiry, operation, route, asked, record)

    async def _ask(
        self,
        inquiry: Inquiry,
        operation: Operation,
        route: Route,
        asked: Sequence[Endpoint],
        record: Record,
    ) -> Answer:
        """An answer of the first of the endpoints `asked` that gives one."""
        services = self._services
        rules = self._rules(route)
        within_s = route.within_s
        deadline = Deadline(self._loop.time() + within_s, within_s, route.within_timer)
        rescue = None
        attempt: Attempt = functools.partial(ask, services, inquiry, deadline)
        if route.rescue is not None and await _is_rescuable(inquiry):
            rescue = Rescue(services, inquiry, record, route, asked, rules, deadline)
            attempt = rescue.ask_first
        try:
            answer, record.endpoint, record.attempts = await first_answer(
                asked, attempt, rules, deadline
            )
        except AttemptsFailed as failure:
            record.endpoint, record.attempts = failure.endpoint, failure.attempts
            if operation.name == COUNT_TOKENS and _has_no_counter(inquiry.codec, failure.last):
                return await _estimate(inquiry)
            raise failure.last from failure
        record.answered(answer.notes)
        describe(answer.headers, record)
        if isinstance(answer, WholeAnswer):
            self._succeeded(record.endpoint)
        elif rescue is not None:
            return rescue.watch(answer, record.endpoint)
        return answer

    def _admit(self, request: web.BaseRequest) -> None:
        """Refuse what cannot be served, before any work goes into it."""
        if request.method != "POST":
            raise MethodNotAllowed(f"{request.method} is not allowed here, POST is", allow=["POST"])
        services = self._services
        if services.draining and not services.handing_over:
            raise ServiceUnavailable("the router is shutting down", retry_after_s=5)
        limit = services.routes.config.limits.max_concurrent_requests
        if services.metrics.inflight > limit:
            raise Overloaded(
                f"{limit} requests are running (limits.max_concurrent_requests)", retry_after_s=1
            )
        # One at a time is served in any case: with nothing else running, no refusal frees anything.
        if services.watermark.exceeded and services.metrics.inflight > 1:
            raise Overloaded(
                "the router's memory is used up but for a reserve (limits.max_memory_bytes)",
                retry_after_s=1,
            )

    def _succeeded(self, endpoint: Endpoint) -> None:
        """Note that an answer came to its end."""
        breakers = self._services.breakers
        if not breakers.is_unknown(endpoint.key):
            breakers.succeeded(endpoint.key, self._loop.time())

    def _note_end(self, record: Record) -> None:
        """Note how a stream ended: one that the upstream did not finish is its failure, though it
        had begun well.
        """
        if record.endpoint is None:
            return
        if record.outcome == OK:
            self._succeeded(record.endpoint)
        elif record.outcome in _BROKEN_OFF or record.outcome.startswith("timeout:"):
            now = self._loop.time()
            if self._services.breakers.failed(record.endpoint.key, now):
                self._attempts.changed(record.endpoint, State.OPEN)

    def _rules(self, route: Route) -> Rules:
        """How requests to a route may be tried: as few kinds of rules as there are settings."""
        services = self._services
        max_attempts = services.routes.config.retry.max_attempts
        rules = self._known_rules.get((route.strategy, max_attempts))
        if rules is None:
            rules = self._known_rules[route.strategy, max_attempts] = Rules(
                max_attempts=max_attempts,
                patient=route.strategy == "priority",
                breakers=services.breakers,
                budget=services.budget,
                report=self._attempts,
                probes=services.probes,
            )
        return rules

    def _error(
        self, request: web.BaseRequest, codec: Codec, error: RouterError, record: Record
    ) -> web.Response:
        record.failed(error)
        if isinstance(error, Rejected) and error.body:
            answer = _relayed_refusal(error, record.request_id)
        else:
            kind = LastAnswer if is_left_unread(request) else web.Response
            answer = error_answer(codec, error, record.request_id, kind)
            if isinstance(error, Rejected):
                answer.headers.update(error.headers)
        if record.endpoint is not None:
            describe(answer.headers, record)
        if self._services.draining:
            answer.force_close()
        record.status = answer.status
        record.sent = answer.content_length or 0  # aiohttp writes it when the account is closed
        return answer


async def _counted(
    ask_it: Callable[[], Awaitable[Answer]], inquiry: Inquiry, lease: Lease
) -> Answer:
    """An answer that is sold: until its payment is settled it is kept, and so is its request."""
    answer = await ask_it()
    if isinstance(answer, WholeAnswer):
        lease.hold(len(inquiry.request.body) + len(answer.body))
    return answer


async def _is_rescuable(inquiry: Inquiry) -> bool:
    """See exchange.rescue, for which the request is read as a whole."""
    if is_large(inquiry):
        return await aside(is_rescuable, inquiry)
    return is_rescuable(inquiry)


def _has_no_counter(codec: Codec, error: UpstreamError) -> bool:
    """Whether the endpoint has no such path: the API's own word for not finding is its answer."""
    if not isinstance(error, Rejected) or error.status not in _NO_SUCH_PATH:
        return False
    return codec.read_error(error.body) is None


async def _estimate(inquiry: Inquiry) -> WholeAnswer:
    """The answer of a token counter where the provider has none, said to be an estimate."""
    headers = own_headers(inquiry.request_id)
    headers["Content-Type"] = CONTENT_TYPES[Framing.WHOLE]
    headers["x-bitrouter-estimated"] = "input_tokens"
    body = inquiry.request.body
    size = measure_if_quick(body)
    tokens = size.tokens if size is not None else await aside(estimated_tokens, body)
    return WholeAnswer(200, headers, inquiry.codec.encode_count(tokens), None, Notes())


def _relayed_refusal(error: Rejected, request_id: str) -> web.Response:
    """The provider's own words, which its clients know best."""
    headers = base_headers(request_id)
    headers.update(error.headers)
    headers["x-bitrouter-error-source"] = error.source
    return web.Response(
        status=error.status, body=error.body, headers=headers, content_type="application/json"
    )


def describe(headers: MutableMapping[str, str], record: Record) -> None:
    """Say on the answer who gave it, at which attempt, and what the router itself took."""
    endpoint = record.endpoint
    if endpoint is not None:
        headers["x-bitrouter-provider"] = endpoint.provider.name
        headers["x-bitrouter-model"] = endpoint.model_id
    headers["x-bitrouter-attempts"] = str(record.attempts)
    if record.answered_at:
        headers["Server-Timing"] = record.server_timing()

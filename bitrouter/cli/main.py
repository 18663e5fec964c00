"""Reads the command line and calls the verb."""

import argparse
import gc
from collections.abc import Sequence
from typing import Final, TypeAlias

from bitrouter import __version__
from bitrouter.config.address import LISTEN_FORMS, parse_listen

_EPILOG: Final = (
    "The configuration is --config, ./bitrouter.yaml, $BITROUTER_HOME/bitrouter.yaml or"
    " ~/.bitrouter/bitrouter.yaml, the first that exists. Without any, every provider whose key is"
    " in the environment is served as provider:model."
)
_EXIT_CODES: Final = "Exit codes: 0 done, 1 failed, 2 a wrong command line, 78 a bad configuration."
_Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code. A wrong command line exits with 2 by itself."""
    given = _parser().parse_args(arguments)
    if given.verb == "serve" and not given.check:
        return _serve(given)
    return _ask(given) if given.verb in _ASKING else _look(given)


# The verbs that ask a running router.
_ASKING: Final = frozenset({"routes", "reload", "models", "status", "requests"})


# A verb's module is imported when it is asked for: only `serve` needs the HTTP server, and its
# start is measured.
def _ask(given: argparse.Namespace) -> int:
    match given.verb:
        case "routes":
            from bitrouter.cli import routes

            return routes.run(given)
        case "reload":
            from bitrouter.cli import reload

            return reload.run(given)
        case "models":
            from bitrouter.cli import models

            return models.run(given)
        case "requests":
            from bitrouter.cli import requests

            return requests.run(given)
        case _:
            from bitrouter.cli import status

            return status.run(given)


def _look(given: argparse.Namespace) -> int:
    match given.verb:
        case "keys":
            from bitrouter.cli import keys

            return keys.run(given)
        case "doctor":
            from bitrouter.cli import doctor

            return doctor.run(given)
        case "schema":
            from bitrouter.cli import schema

            return schema.run()
        case verb:
            from bitrouter.cli import check

            return check.run(given.config, as_json=verb == "check" and given.json)


def _serve(given: argparse.Namespace) -> int:
    from bitrouter.cli import certificates

    # Modules and routes are made here, hardly any garbage: looking for it again and again would be
    # 90 of 500 ms until ready with 1,000 routes. serve.run looks once and turns it on.
    gc.disable()
    try:
        with certificates.read_in_background() as wait_for_certificates:
            from bitrouter.cli import serve
        return serve.run(given.config, given.listen, wait_for_certificates)
    finally:
        gc.enable()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bitrouter", description="An LLM router.", epilog=f"{_EPILOG} {_EXIT_CODES}"
    )
    parser.add_argument("--version", action="version", version=f"bitrouter {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    serve = _add_verb(verbs, "serve", "run the router in the foreground", epilog=_EPILOG)
    _add_config(serve)
    _add_listen(serve, "listen there, whatever the file says")
    serve.add_argument("--check", action="store_true", help="only validate the configuration")

    check = _add_verb(verbs, "check", "validate the configuration offline, without secrets")
    _add_config(check)
    _add_json(check)

    keys = _add_verb(verbs, "keys", "virtual keys for clients")
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = _add_verb(actions, "create", "make a key and print it, this once")
    create.add_argument("name", metavar="NAME", help="whose key it is")
    listed = _add_verb(actions, "list", "list the keys")
    revoke = _add_verb(actions, "revoke", "make a key invalid, within a second")
    revoke.add_argument("id", metavar="ID", help="the id that `keys list` shows")
    for action in (create, listed, revoke):
        _add_config(action)
        _add_json(action)

    _add_routes(_add_verb(verbs, "routes", "routes of a running router"))
    _add_asking(verbs)
    _add_doctor(_add_verb(verbs, "doctor", "find out what keeps the router from serving"))
    schema = _add_verb(verbs, "schema", "print the JSON Schema of the file, for editors")
    _add_json(schema)
    return parser


def _add_verb(
    verbs: _Verbs, name: str, does: str, *, epilog: str | None = None
) -> argparse.ArgumentParser:
    """A verb whose own help begins with what the list of verbs says of it."""
    sentence = f"{does[0].upper()}{does[1:]}."
    return verbs.add_parser(name, help=does, description=sentence, epilog=epilog)


def _add_asking(verbs: _Verbs) -> None:
    reload = _add_verb(verbs, "reload", "have a running router read its file anew")
    reload.add_argument("--dry-run", action="store_true", help="say what would change, only")
    models = _add_verb(verbs, "models", "what a running router can be asked for")
    models.add_argument(
        "name", metavar="TEXT", nargs="?", help="only those with this in their name"
    )
    models.add_argument("--provider", metavar="NAME", help="only those of this provider")
    status = _add_verb(verbs, "status", "how a running router is doing")
    requests = _add_verb(verbs, "requests", "what a running router has answered last")
    requests.add_argument("--route", metavar="NAME", type=_text, help="only those of this route")
    requests.add_argument(
        "--outcome", metavar="WORD", type=_text, help="only those that ended so; error: that failed"
    )
    requests.add_argument("--limit", metavar="N", type=int, help="how many at most; 100")
    for verb in (reload, models, status, requests):
        _add_config(verb)
        _add_listen(verb, _ELSEWHERE)
        _add_json(verb)


def _add_doctor(doctor: argparse.ArgumentParser) -> None:
    doctor.add_argument("--offline", action="store_true", help="leave the network out")
    doctor.add_argument(
        "--no-live",
        action="store_true",
        help="do not ask each endpoint for a few words, which costs what it costs",
    )
    doctor.add_argument("--timeout", metavar="S", type=_seconds, default=5.0, help="for a provider")
    _add_config(doctor)
    _add_listen(doctor, _ELSEWHERE)
    _add_json(doctor)


_ELSEWHERE: Final = "the router listens there, whatever the file says"


def _add_routes(routes: argparse.ArgumentParser) -> None:
    actions = routes.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = _add_verb(actions, "list", "list the routes")
    add = _add_verb(actions, "add", "set a route, which lasts until it is removed")
    add.add_argument(
        "model", metavar="MODEL", type=_text, help="the name; a * at its end stands for any rest"
    )
    add.add_argument(
        "endpoints",
        metavar="PROVIDER:MODEL_ID",
        nargs="+",
        type=_endpoint,
        help="where it leads, the preferred first",
    )
    add.add_argument(
        "--strategy",
        choices=["priority", "load_balance"],
        default="priority",
        help="in order, or spread by weight; both go on to the next endpoint on failure",
    )
    add.add_argument(
        "--weights",
        metavar="N,N",
        type=_weights,
        help="the share of each endpoint under load_balance",
    )
    remove = _add_verb(actions, "rm", "remove a route that was set")
    remove.add_argument("model", metavar="MODEL", type=_text, help="its name")
    explain = _add_verb(actions, "explain", "say what becomes of requests for a model")
    explain.add_argument(
        "model", metavar="MODEL", type=_text, help="any name that a client could ask for"
    )
    explain.add_argument(
        "--protocol",
        metavar="WORD",
        help="for clients of this protocol alone: a word of api_protocol, such as openai",
    )
    history = _add_verb(actions, "history", "the last changes of the routes that were set")
    rollback = _add_verb(actions, "rollback", "make those routes what they were before")
    rollback.add_argument(
        "version",
        metavar="VERSION",
        nargs="?",
        type=_version,
        help="as `history` has it; else before the last change",
    )
    for action in (add, remove, rollback):
        action.add_argument("--dry-run", action="store_true", help="check, but change nothing")
    for action in (listed, add, remove, explain, history, rollback):
        _add_config(action)
        _add_listen(action, _ELSEWHERE)
        _add_json(action)


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError("must be UTF-8") from error
    return text


def _endpoint(text: str) -> tuple[str, str]:
    provider, _, model_id = _text(text).partition(":")
    if not provider or not model_id:
        raise argparse.ArgumentTypeError(f"{text!r}: must be PROVIDER:MODEL_ID")
    return provider, model_id


def _version(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise argparse.ArgumentTypeError(f"{text!r}: must be the number of a version")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 600:
        raise argparse.ArgumentTypeError(f"{text!r}: must be seconds, above 0 and at most 600")
    return seconds


def _weights(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.isascii() and word.isdigit() and 0 < int(word) <= 1_000_000 for word in words):
        raise argparse.ArgumentTypeError(f"{text!r}: must be numbers from 1 to 1000000, as 3,1")
    return [int(word) for word in words]


def _listen(text: str) -> str:
    try:
        parse_listen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error
    return text


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="the configuration file")


def _add_listen(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument(
        "--listen", metavar="HOST:PORT", type=_listen, help=f"{meaning}; {LISTEN_FORMS}"
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")

"""Reads the command line and calls the verb."""

import argparse
import gc
from collections.abc import Sequence
from typing import Final

from bitrouter import __version__
from bitrouter.config.address import LISTEN_FORMS, parse_listen

_EPILOG: Final = (
    "The configuration is --config, ./bitrouter.yaml, $BITROUTER_HOME/bitrouter.yaml or"
    " ~/.bitrouter/bitrouter.yaml, the first that exists. Without any, every provider whose key is"
    " in the environment is served as provider:model."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code. A wrong command line exits with 2 by itself."""
    given = _parser().parse_args(arguments)
    # A verb's module is imported when it is asked for: only `serve` needs the HTTP server, and its
    # start is measured.
    match given.verb:
        case "check":
            from bitrouter.cli import check

            return check.run(given.config, as_json=given.json)
        case "keys":
            from bitrouter.cli import keys

            return keys.run(given)
        case "routes":
            from bitrouter.cli import routes

            return routes.run(given)
        case _:
            if given.check:
                from bitrouter.cli import check

                return check.run(given.config, as_json=False)
            return _serve(given)


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
    parser = argparse.ArgumentParser(prog="bitrouter", description="An LLM router.", epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"bitrouter {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    serve = verbs.add_parser("serve", help="run the router in the foreground", epilog=_EPILOG)
    _add_config(serve)
    _add_listen(serve, "listen there, whatever the file says")
    serve.add_argument("--check", action="store_true", help="only validate the configuration")

    check = verbs.add_parser("check", help="validate the configuration offline, without secrets")
    _add_config(check)
    _add_json(check)

    keys = verbs.add_parser("keys", help="virtual keys for clients")
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a key and print it, this once")
    create.add_argument("name", help="whose key it is")
    listed = actions.add_parser("list", help="list the keys")
    revoke = actions.add_parser("revoke", help="make a key invalid, within a second")
    revoke.add_argument("id", help="the id that `keys list` shows")
    for action in (create, listed, revoke):
        _add_config(action)
        _add_json(action)

    _add_routes(verbs.add_parser("routes", help="routes of a running router"))
    return parser


def _add_routes(routes: argparse.ArgumentParser) -> None:
    actions = routes.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="list the routes")
    add = actions.add_parser("add", help="set a route, which lasts until it is removed")
    add.add_argument("model", type=_text, help="the name; a * at its end stands for any rest")
    add.add_argument(
        "endpoints",
        metavar="PROVIDER:MODEL_ID",
        nargs="+",
        type=_endpoint,
        help="where it leads, the preferred first",
    )
    add.add_argument("--strategy", choices=["priority", "load_balance"], default="priority")
    add.add_argument(
        "--weights",
        metavar="N,N",
        type=_weights,
        help="the share of each endpoint under load_balance",
    )
    remove = actions.add_parser("rm", help="remove a route that was set")
    remove.add_argument("model", type=_text, help="its name")
    explain = actions.add_parser("explain", help="say what becomes of requests for a model")
    explain.add_argument("model", type=_text, help="any name that a client could ask for")
    explain.add_argument(
        "--protocol",
        metavar="WORD",
        help="for clients of this protocol alone: a word of api_protocol, such as openai",
    )
    for action in (add, remove):
        action.add_argument("--dry-run", action="store_true", help="check, but change nothing")
    for action in (listed, add, remove, explain):
        _add_config(action)
        _add_listen(action, "the router listens there, whatever the file says")
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

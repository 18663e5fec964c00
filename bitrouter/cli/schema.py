"""`bitrouter schema`: print the JSON Schema of bitrouter.yaml, for editors."""

import msgspec

from bitrouter.config.jsonschema import config_schema
from bitrouter.protocols import BY_API_PROTOCOL


def run() -> int:
    """Print it; it is one JSON document, with or without --json."""
    print(msgspec.json.format(msgspec.json.encode(config_schema(BY_API_PROTOCOL))).decode())
    return 0

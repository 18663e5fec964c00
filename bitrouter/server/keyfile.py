"""The file of the virtual keys, which the command line writes while the router runs."""

from pathlib import Path

from bitrouter.access.keys import KEYS_FILE, KeyRing, decode_keys
from bitrouter.server.statedir import read_state, unusable


class KeyFile:
    """Reads the keys, and knows whether the file has changed since."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / KEYS_FILE
        self._read_at: tuple[int, int] | None = None

    @property
    def has_changed(self) -> bool:
        """Whether there is another file than the one that was read, or tried to."""
        return _stamp(self._file) != self._read_at

    def read(self) -> KeyRing:
        """The keys; none where there is no file. Raises ConfigError when it cannot be used."""
        self._read_at = _stamp(self._file)
        content = read_state(self._file)
        if content is None:
            return KeyRing()
        try:
            return KeyRing(decode_keys(content))
        except ValueError as error:
            raise unusable(self._file, str(error)) from error


def _stamp(path: Path) -> tuple[int, int] | None:
    """Changes whenever the file is replaced, twice within a tick of its clock too; None if gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino

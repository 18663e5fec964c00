"""What the C library keeps of memory that was freed, for the next body.

Unusual code. glibc returns a large block to the kernel when it is freed, and asks for the next one
anew: the kernel zeroes each of its pages, and the process stops for each at the first touch. A
megabyte that is received, joined and sent does so some 450 times, which is three quarters of what
receiving it takes. docs/performance.md has the figures. Source: mallopt(3), malloc_trim(3).
"""

import ctypes
from collections.abc import Mapping
from typing import Final

# mallopt's own numbers for its parameters (malloc.h).
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3

# Blocks up to this size come from what is kept. Untold, glibc puts it up by itself to the largest
# block that was freed, 32 MiB at most; what is kept then is twice as much.
LARGEST_KEPT: Final = 16 << 20
# How much is kept that nobody uses, at the end of a heap: a burst of bodies, and no more.
MOST_KEPT: Final = 32 << 20

# With these an operator has said what is wanted.
_OPERATORS: Final = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
_TUNABLES: Final = "GLIBC_TUNABLES"


def keep_freed(environ: Mapping[str, str]) -> bool:
    """Have the C library keep what bodies are made of. False where `environ` has settings of its
    own for that, or where the C library is not glibc.
    """
    if any(name in environ for name in _OPERATORS) or "glibc.malloc" in environ.get(_TUNABLES, ""):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # Each of them also ends glibc's own adjusting of both.
    return bool(mallopt(_MMAP_THRESHOLD, LARGEST_KEPT) and mallopt(_TRIM_THRESHOLD, MOST_KEPT))


def give_back() -> None:
    """Have the C library return to the kernel what is free, whatever it is to keep."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))

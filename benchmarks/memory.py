"""Peak resident memory of one call."""

import ctypes
import gc
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def peak_growth(call):
    """Bytes by which resident memory grew at its peak during ``call``.

    The call is made once before, so that code pages and lazily made buffers are there already; the
    kernel's high-water mark is then set back to the present size.

    Raises:
        OSError: where the system has no high-water mark that can be set back.
    """
    call()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    _RESET.write_text("5")
    before = _kilobytes("VmRSS")
    call()
    return 1024 * max(_kilobytes("VmHWM") - before, 0)


def _kilobytes(field):
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise OSError(f"{field} not found in {_STATUS}")

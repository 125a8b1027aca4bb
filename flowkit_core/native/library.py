"""Compile the C sources of the sweep where there is a compiler; say why not where there is none.

The library is kept in the user's cache (``XDG_CACHE_HOME``, else ``~/.cache``), under a name made
from the source, the compiler and the processor, so that neither a new version nor another machine
finds a library that is not its own. Set ``FLOWKIT_COMPILER=none`` to do without, or to the name of
a compiler to use that one.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

FLAGS = (
    "-O3", "-std=c11", "-shared", "-fPIC", "-ffp-contract=fast", "-fno-math-errno",
    "-fno-trapping-math", "-Wno-psabi",
)  # fmt: skip
# What asks for the instructions of this very processor; the first that the compiler takes is used.
NATIVE = (("-march=native",), ("-mcpu=native",), ())
SOURCES = ("layer.h", "tile.h", "sweep.c", "pullback.c")
# Custom calls of XLA, and the header that comes with JAX.
XLA_SOURCE, XLA_HEADER = "xla.c", "xla/ffi/api/c_api.h"
# Each function takes a layer, three counts of points, and so many arrays.
ARRAYS = {"flowkit_sweep": 5, "flowkit_pullback": 11}
REALS = {"float32": ("float", "0"), "float64": ("double", "1")}


class KernelUnavailableError(RuntimeError):
    """The compiled sweep cannot be had; the message says why."""


def status(xla_headers: str = "") -> str:
    """One line: whether sweeps on the CPU run compiled, and if not, why not.

    Args:
        xla_headers: as for `load`.

    Example:
        >>> status().split(":")[0] in ("compiled", "not compiled")
        True
    """
    try:
        return f"compiled: {load('float32', xla_headers)._name}"
    except KernelUnavailableError as error:
        return f"not compiled: {error}"


def kernel(dtype: str, xla_headers: str = "") -> ctypes.CDLL | None:
    """The compiled library for a dtype, or None."""
    try:
        return load(dtype, xla_headers)
    except KernelUnavailableError:
        return None


def load(dtype: str, xla_headers: str = "") -> ctypes.CDLL:
    """The compiled library for a dtype.

    Args:
        dtype: "float32" or "float64".
        xla_headers: folder of XLA's headers, for a library that has custom calls of XLA too.

    Raises:
        KernelUnavailableError: if it cannot be had.
    """
    found = _outcome(dtype, xla_headers, os.environ.get("FLOWKIT_COMPILER", ""))
    if isinstance(found, str):
        raise KernelUnavailableError(found)
    return found


@lru_cache
def _outcome(dtype: str, xla_headers: str, wish: str) -> ctypes.CDLL | str:
    """The library or the reason why there is none; found out once."""
    if dtype not in REALS:
        return f"no compiled sweep for {dtype}"
    if wish == "none":
        return "switched off by FLOWKIT_COMPILER=none"
    candidates = [wish] if wish else [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    compiler = next((path for name in candidates if name and (path := shutil.which(name))), None)
    if compiler is None:
        return f"no C compiler found (looked for {', '.join(filter(None, candidates))})"
    try:
        library = ctypes.CDLL(str(_built(compiler, dtype, xla_headers)))
    except (OSError, subprocess.SubprocessError) as error:
        return f"{compiler} failed: {error}"
    for name, arrays in ARRAYS.items():
        function = getattr(library, name)
        function.argtypes = (ctypes.c_void_p, *(ctypes.c_int64,) * 3, *(ctypes.c_void_p,) * arrays)
        function.restype = ctypes.c_int
    return library


def _built(compiler: str, dtype: str, xla_headers: str) -> Path:
    """The library's file, compiled unless it is there."""
    folder, names = files("flowkit_core.native"), [*SOURCES]
    about = [platform.machine(), _processor(), _output([compiler, "--version"]), *FLAGS, dtype]
    includes: list[str] = []
    if xla_headers:
        names, includes = [*SOURCES, XLA_SOURCE], [f"-I{xla_headers}"]
        about.append((Path(xla_headers) / XLA_HEADER).read_text(encoding="utf-8"))
    sources = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in names}
    about += sources.values()
    name = f"sweep-{hashlib.sha256(chr(10).join(about).encode()).hexdigest()[:24]}.so"
    target = _cache() / name
    if not target.exists():
        real, is_double = REALS[dtype]
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            for source, text in sources.items():
                (Path(scratch) / source).write_text(text, encoding="utf-8")
            inputs = [str(Path(scratch) / source) for source in names if source.endswith(".c")]
            defines = [f"-DREAL={real}", f"-DIS_DOUBLE={is_double}"]
            built = Path(scratch) / name
            _compile([compiler, *FLAGS, *defines, *includes, *inputs, "-o", str(built)])
            # Moved into place whole, so that another process never meets half a file.
            os.replace(built, target)
    return target


def _compile(command: list[str]) -> None:
    for attempt, native in enumerate(NATIVE):
        try:
            _output([*command, *native, "-lm"])
        except subprocess.CalledProcessError:
            if attempt == len(NATIVE) - 1:
                raise
        else:
            return


def _output(command: list[str]) -> str:
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    ).stdout


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = (Path(base) if base else Path.home() / ".cache") / "ppl-flowkit"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="ppl-flowkit-"))


def _processor() -> str:
    """What tells processors apart whose instructions differ, as far as the system says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(
        sorted({x for x in lines if x.startswith(("model name", "flags", "Features"))})
    )

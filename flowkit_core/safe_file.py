"""Files replaced as a whole, and safetensors files read with one kind of error."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open


class CheckpointError(ValueError):
    """A file that is no readable checkpoint of a flow, with the reason."""


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """A safetensors file, open for reading; all that can be wrong with it is a CheckpointError."""
    if not file.is_file():
        raise FileNotFoundError(f"no checkpoint at {file}")
    try:
        with safe_open(file, framework="numpy") as handle:
            yield handle
    except SafetensorError as error:
        raise CheckpointError(f"{file}: damaged, or no safetensors file ({error})") from error
    except (AttributeError, TypeError) as error:  # from get_tensor: bfloat16, the float8 family
        raise CheckpointError(f"{file}: holds a type that numpy does not know ({error})") from error


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` to a temporary file beside ``path`` and rename it to ``path``.

    A file that was there keeps its permissions; a new one gets those of any new file.
    """
    file = Path(path)
    temporary = file.parent / f".{file.name}.{secrets.token_hex(4)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            if file.exists():
                os.chmod(temporary, stat.S_IMODE(file.stat().st_mode))
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

"""A progress bar, or one that shows nothing."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flowkit_core.extras import require


@contextmanager
def progress_bar(show: bool, total: int, initial: int, *, unit: str) -> Iterator[Any]:
    """A tqdm bar on standard error while the block runs.

    Args:
        show: False for one that shows nothing.
        total: at the end.
        initial: at the start.
        unit: what is counted.

    Raises:
        ImportError: if it is to be shown and tqdm is not installed.
    """
    if not show:
        yield _Silent()
        return
    tqdm = require("tqdm", extra="all", purpose="a progress bar (or pass progress=False)")
    with tqdm.tqdm(total=total, initial=initial, unit=unit, file=sys.stderr) as bar:
        yield bar


class _Silent:
    def set_postfix_str(self, text: str) -> None: ...

    def update(self, count: int = 1) -> None: ...

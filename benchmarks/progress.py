"""What a run tells the terminal."""

import sys
import time

_START = time.monotonic()


def say(text):
    """A line with the minutes since the start."""
    minutes, seconds = divmod(int(time.monotonic() - _START), 60)
    print(f"[{minutes:2d}:{seconds:02d}] {text}", file=sys.stderr, flush=True)

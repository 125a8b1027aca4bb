"""What the processes of one fit have to agree on. Knows no framework."""

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Processes(Protocol):
    """The processes that run one fit together, each of them this code.

    Attributes:
        size: how many there are.
        rank: number of this one, from 0.
    """

    size: int
    rank: int

    def first(self, call: Callable[[], T]) -> T:
        """What the first process gets from the call, which the others do not make.

        Raises:
            Exception: what the call raises, in every process.
        """


class Alone:
    """A single process.

    Example:
        >>> Alone().first(lambda: 1)
        1
    """

    size = 1
    rank = 0

    def first(self, call: Callable[[], T]) -> T:
        """What the call returns."""
        return call()

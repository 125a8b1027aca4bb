"""Tiles of the table of all pairs (draw, data point), none of which is ever held whole."""

from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise

from flowkit_core import checks

# What the streamed evaluations keep to, unless told otherwise.
MEMORY_LIMIT = 64 * 2**20

# A tile of this many pairs lives in a processor's cache: larger ones were slower in both wings.
TILE_ROWS, TILE_COLUMNS = 512, 1024

# Each pair is held as a float64, its float32 copy, and the mask or product of a comparison.
BYTES_PER_PAIR = 24

# exp of much less than this is a hundred times slower (denormal numbers), and adds nothing.
LOWEST = -80.0

# Tiles whose every term is below e to this, relative to the sum, are passed over.
NEGLIGIBLE = -50.0


def slices(count: int, size: int) -> Iterator[slice]:
    """Runs of at most ``size`` out of ``count``.

    Example:
        >>> list(slices(5, 2))
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def consecutive(sizes: Iterable[int]) -> list[slice]:
    """Runs of these sizes, one behind the other.

    Example:
        >>> consecutive([2, 3])
        [slice(0, 2, None), slice(2, 5, None)]
    """
    return [slice(start, stop) for start, stop in pairwise(accumulate(sizes, initial=0))]


def tile_shape(num_features: int, memory_limit: int) -> tuple[int, int]:
    """Rows and columns of a tile with ``num_features`` numbers for each row and each column.

    Raises:
        ValueError: if not even a tile of one pair fits.

    Example:
        >>> tile_shape(64, 2**26)
        (512, 1024)
        >>> tile_shape(64, 2**20)
        (64, 128)
    """
    rows, columns = TILE_ROWS, TILE_COLUMNS
    while _bytes(rows, columns, num_features) > memory_limit:
        if rows == 1:
            raise ValueError(
                f"memory_limit: expected at least {_bytes(rows, columns, num_features)} bytes, "
                f"for a tile of one row, got {memory_limit}"
            )
        rows, columns = max(rows // 2, 1), max(columns // 2, 1)
    return rows, columns


def _bytes(rows: int, columns: int, num_features: int) -> int:
    # Features are made of as many numbers again.
    return BYTES_PER_PAIR * rows * columns + 16 * num_features * (rows + columns)


def rows_per_tile(bytes_per_row: int, memory_limit: int) -> int:
    """How many draws fit, each of which is scored against all data points at once.

    Raises:
        ValueError: if not even one does.

    Example:
        >>> rows_per_tile(1000, 2500)
        2
    """
    if bytes_per_row > memory_limit:
        raise ValueError(
            f"memory_limit: expected at least {bytes_per_row} bytes, for one draw against all "
            f"data points of a batch, got {memory_limit}; or pass the posterior as a list of "
            "smaller batches"
        )
    return memory_limit // bytes_per_row


def check_memory_limit(value: object) -> int:
    """Return the limit in bytes if it is an integer of at least 1."""
    return checks.positive_int("memory_limit", value)

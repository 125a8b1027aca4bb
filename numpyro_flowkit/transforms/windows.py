"""Windows: the rows of one step, cut out of arrays and written back.

A step may evaluate more rows than are its own. Those that are done already come out as they were.
Those of steps still to come come out wrong and are written again before anything but a masked,
hence zero, weight meets them; until then they are zero, because 0 * inf is not 0. Those of other
chunks are zero because they have been counted where the chunk began.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from numpyro_flowkit.transforms.chunks import Group, Index, Rows

_ZERO = np.uint32(0)


class Window:
    """The rows of one group at one step.

    Shapes: arrays are (rows, columns).

    Args:
        group: whose rows.
        rows: where the step writes; its entries may be traced.
    """

    def __init__(self, group: Group, rows: Rows) -> None:
        self.group, self.rows = group, rows

    def __call__(self, array: Array) -> Array:
        """Cut out of an array of all rows."""
        return self._cut(array, self.rows.first)

    def of_frame(self, array: Array) -> Array:
        """Cut out of an array of the rows of the group's frame."""
        return self._cut(array, self.rows.local)

    def write(self, array: Array, new: Array) -> Array:
        """Write into an array of all rows."""
        return lax.dynamic_update_slice(array, new.astype(array.dtype), (self.rows.first, _ZERO))

    def write_frame(self, array: Array, new: Array) -> Array:
        """Write into an array of the rows of the group's frame."""
        return lax.dynamic_update_slice(array, new.astype(array.dtype), (self.rows.local, _ZERO))

    def done(self, new: Array) -> Array:
        """Zeros in place of rows of later steps and of other chunks."""
        return self._only(new, self.rows.start, self.rows.end)

    def done_backwards(self, new: Array) -> Array:
        """Zeros in place of rows of earlier steps and of other chunks."""
        return self._only(new, self.rows.begin, self.rows.stop)

    def _only(self, new: Array, begin: Index, end: Index) -> Array:
        if self.group.even:
            return new
        number = self.rows.first + np.arange(self.group.width, dtype=np.uint32)
        return jnp.where(((number >= begin) & (number < end))[:, None], new, 0)

    def _cut(self, array: Array, first: Index) -> Array:
        return lax.dynamic_slice(array, (first, _ZERO), (self.group.width, array.shape[-1]))


def product(weight: Array, rows: Array) -> Array:
    """``weight @ rows`` in full precision."""
    return jnp.matmul(weight, rows, precision=lax.Precision.HIGHEST)


def block(
    matrix: Array, row: Index | np.uint32, column: Index | np.uint32, shape: tuple[int, ...]
) -> Array:
    """The block of a matrix that begins there."""
    return lax.dynamic_slice(matrix, (row, column), shape)


def add_frame(array: Array, base: Index, frame: Array) -> Array:
    """Add a frame to an array of all rows."""
    total = block(array, base, _ZERO, frame.shape) + frame
    return lax.dynamic_update_slice(array, total, (base, _ZERO))

"""A flow of vectors on whole images."""

from collections.abc import Sequence
from typing import Self

from jax import Array

from flowkit_core import checks
from flowkit_core.specs import FlattenedSpec
from flowkit_core.specs.image_layers import unflattened_shape
from flowkit_core.specs.image_masks import ImageShape
from numpyro_flowkit.transforms.around import Around
from numpyro_flowkit.transforms.base import Flow


class Flattened(Around):
    """The inner flow maps the numbers of an image as one vector.

    With a diagonal layer inside, each number has a scale of its own; with a logit, images lie
    between 0 and 1; with a `realnvp`, nothing is known of neighbours.

    Shapes: z and x (..., C, H, W), of the inner flow (..., C * H * W), log-determinants (...).

    Cost: that of the inner flow.

    Args:
        inner: a flow of vectors of C * H * W numbers.
        image_shape: (C, H, W).

    Raises:
        ValueError: if the inner flow is none of vectors of that size.

    Example:
        >>> import jax
        >>> from numpyro_flowkit import qr_linear
        >>> flow = Flattened(qr_linear(4)(jax.random.key(0)), (1, 2, 2))
        >>> flow(jax.numpy.ones((5, 1, 2, 2))).shape
        (5, 1, 2, 2)
    """

    static_names = ("spec", "image_shape")

    image_shape: ImageShape

    def __init__(self, inner: Flow, image_shape: Sequence[int]) -> None:
        self.image_shape = checks.image_shape("image_shape", image_shape)
        spec = None if inner.spec is None else FlattenedSpec(inner.spec, self.image_shape)
        super().__init__(inner, spec)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return unflattened_shape(self.inner.event_shape, self.image_shape)

    def _round(self, inner: Flow) -> Self:
        return type(self)(inner, self.image_shape)

    def take_in(self, values: Array) -> tuple[Array, Array | None]:
        """All numbers in a row."""
        return values.reshape(*values.shape[:-3], self.input_dim), None

    def put_back(self, inside: Array, outside: Array | None) -> Array:
        """The image."""
        return inside.reshape(*inside.shape[:-1], *self.image_shape)

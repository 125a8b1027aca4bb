"""Coupling layers of images."""

from collections.abc import Sequence
from math import prod

from jax import Array

from flowkit_core import checks
from flowkit_core.specs import ImageCouplingSpec, ImageMaskSpec
from flowkit_core.specs.image_masks import ImageShape
from numpyro_flowkit.laws import Law
from numpyro_flowkit.transforms.coupling_layer import CouplingLayer
from numpyro_flowkit.transforms.image_masks import ImageSplit, image_split
from numpyro_flowkit.transforms.law_params import ConditionerLike, law_params


class ImageCoupling(CouplingLayer):
    """``x_A = z_A``, ``x_B = law(z_B; parameters of z_A)``: A every second pixel, or some channels.

    Shapes: z and x (..., C, H, W), context (..., context_dim), log-determinants (...). The
    conditioner maps images to num_conditioned numbers for each moved number at each pixel,
    parameter by parameter along the channels. By channels it sees those that pass through; by
    checkerboard all of them, with zeros at the pixels that are moved. The law's free parameters
    belong to channels: all pixels share them.

    Args:
        image_shape: (C, H, W).
        mask: ``CheckerboardMask()`` or ``ChannelMask((True, False, ...))``.
        conditioner: a `ConvNet`, or any pytree that maps (..., channels, H, W) (and a context) to
            raw parameters.
        law: the map of one number.
        context_dim: length of the context the conditioner takes.
        free: the law's free parameters (num_free, moved channels); zeros by default.
        spec: the architecture as data; leave it out for a conditioner or law of your own.

    Cost: one network pass in either direction; the inverse is exact.

    Stability: scales are softly bounded by the law.

    Raises:
        ValueError: for a mask that does not fit the images or would move nothing.
        TypeError: for a mask that is none, or a conditioner that cannot be called or is a plain
            function.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, section 3.4 and
        figure 3.

    Example:
        >>> import jax
        >>> from flowkit_core.specs import CheckerboardMask, ConvNetSpec
        >>> from numpyro_flowkit.conditioners import ConvNet
        >>> from numpyro_flowkit.laws import Affine
        >>> spec = ConvNetSpec(
        ...     hidden_dims=(8,),
        ...     activation="relu",
        ...     context_dim=0,
        ...     num_inputs=1,
        ...     num_outputs=2,
        ...     residual=True,
        ...     weight_norm=True,
        ... )
        >>> net = ConvNet.init(jax.random.key(0), spec)
        >>> flow = ImageCoupling((1, 3, 3), CheckerboardMask(), net, Affine())
        >>> flow(jax.numpy.ones((5, 1, 3, 3))).shape
        (5, 1, 3, 3)
    """

    static_names = ("image_shape", "mask", "law", "spec", "context_dim")

    image_shape: ImageShape
    mask: ImageMaskSpec

    def __init__(
        self,
        image_shape: Sequence[int],
        mask: ImageMaskSpec,
        conditioner: ConditionerLike,
        law: Law,
        *,
        context_dim: int = 0,
        free: Array | None = None,
        spec: ImageCouplingSpec | None = None,
    ) -> None:
        self.image_shape = checks.image_shape("image_shape", image_shape)
        self.mask = checks.instance("mask", mask, ImageMaskSpec)
        _, num_moved = mask.channels(self.image_shape)
        super().__init__(num_moved, conditioner, law, context_dim=context_dim, free=free, spec=spec)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return self.image_shape

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Numbers in an image."""
        return prod(self.image_shape)

    @property
    def _parts(self) -> ImageSplit:
        return image_split(self.mask, self.image_shape)

    def split(self, values: Array) -> tuple[Array, Array]:
        """What passes through, and the rest."""
        return self._parts.split(values)

    def merge(self, kept: Array, moved: Array) -> Array:
        """Undo `split`."""
        return self._parts.merge(kept, moved)

    def _at_moved(self, log_slope: Array) -> Array:
        return self._parts.at_moved(log_slope)

    def _params(self, kept: Array, context: Array | None) -> tuple[Array, ...]:
        _, num_moved = self.mask.channels(self.image_shape)
        free = None if self.free is None else self.free[..., None, None]
        return law_params(self.conditioner, self.law, free, kept, context, num_moved, axis=-3)

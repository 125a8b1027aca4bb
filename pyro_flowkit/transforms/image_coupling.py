"""Coupling layers of images."""

from collections.abc import Sequence

from torch import Tensor, nn

from flowkit_core import checks
from flowkit_core.specs import ImageCouplingSpec, ImageMaskSpec
from pyro_flowkit.laws import Law, Params
from pyro_flowkit.transforms.coupling_layer import CouplingLayer
from pyro_flowkit.transforms.image_masks import image_split
from pyro_flowkit.transforms.law_params import law_params


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
        conditioner: a `ConvNet`, or any module that maps (..., channels, H, W) (and a context) to
            raw parameters.
        law: the map of one number.
        context_dim: length of the context the conditioner takes.
        free: start values (num_free, moved channels) of the law's free parameters; zeros by
            default.
        spec: the architecture as data; leave it out for a conditioner or law of your own.

    Cost: one network pass in either direction; the inverse is exact.

    Stability: scales are softly bounded by the law.

    Raises:
        ValueError: for a mask that does not fit the images or would move nothing.
        TypeError: for a mask that is none.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, section 3.4 and
        figure 3.

    Example:
        >>> import torch
        >>> from flowkit_core.specs import CheckerboardMask, ConvNetSpec
        >>> from pyro_flowkit.conditioners import ConvNet
        >>> from pyro_flowkit.laws import Affine
        >>> spec = ConvNetSpec(
        ...     hidden_dims=(8,),
        ...     activation="relu",
        ...     context_dim=0,
        ...     num_inputs=1,
        ...     num_outputs=2,
        ...     residual=True,
        ...     weight_norm=True,
        ... )
        >>> net = ConvNet.init(spec, torch.Generator().manual_seed(0))
        >>> flow = ImageCoupling((1, 3, 3), CheckerboardMask(), net, Affine())
        >>> flow(torch.ones(5, 1, 3, 3)).shape
        torch.Size([5, 1, 3, 3])
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        mask: ImageMaskSpec,
        conditioner: nn.Module,
        law: Law,
        *,
        context_dim: int = 0,
        free: Tensor | None = None,
        spec: ImageCouplingSpec | None = None,
    ) -> None:
        shape = checks.image_shape("image_shape", image_shape)
        checks.instance("mask", mask, ImageMaskSpec)
        _, num_moved = mask.channels(shape)
        super().__init__(
            shape, num_moved, conditioner, law, context_dim=context_dim, free=free, spec=spec
        )
        self.mask = mask
        self._parts = image_split(mask, shape)

    def split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """What passes through, and the rest."""
        return self._parts.split(values)

    def merge(self, kept: Tensor, moved: Tensor) -> Tensor:
        """Undo `split`."""
        return self._parts.merge(kept, moved)

    def _at_moved(self, log_slope: Tensor) -> Tensor:
        return self._parts.at_moved(log_slope)

    def _params(self, kept: Tensor, context: Tensor | None) -> Params:
        raw = self.conditioner(kept, context)
        free = None if self.free is None else self.free[..., None, None]
        return law_params(self.law, raw, free, self._num_laws, axis=-3)

"""Multi-scale flows of images: realnvp_image and glow."""

from collections.abc import Sequence

from flowkit_core import checks, masks
from flowkit_core.specs import (
    ActNormSpec,
    ChannelMask,
    CheckerboardMask,
    ComposeSpec,
    Conv1x1Spec,
    ConvNetSpec,
    FlowSpec,
    ImageCouplingSpec,
    ImageMaskSpec,
    LULinearSpec,
    OnChannelsSpec,
    PerPixelSpec,
    SqueezedSpec,
)
from flowkit_core.specs.image_masks import ImageShape
from flowkit_core.specs.laws import LawSpec, named_law


def realnvp_image(
    image_shape: Sequence[int],
    *,
    num_scales: int,
    num_couplings: int = 3,
    hidden_channels: int = 32,
    num_blocks: int = 1,
    context_dim: int = 0,
    activation: str = "relu",
    weight_norm: bool = True,
    law: str = "affine",
    seed: int = 0,
) -> FlowSpec:
    """RealNVP of images: couplings by checkerboards and by channels, on several scales.

    From data to base, every scale but the last one does ``num_couplings`` couplings by
    checkerboards, squeezes 2x2 pixels into channels, does as many by channels and factors out half
    of the channels; the last one does one coupling more by checkerboards. What is factored out
    stays where it is, so z and x have one shape and the base is N(0, I) over images.

    Cost: one network pass per coupling in either direction; the inverse is exact.

    Args:
        image_shape: (channels, height, width); height and width divisible by
            ``2 ** (num_scales - 1)``.
        num_scales: 1 for checkerboards alone, at any size.
        num_couplings: of one kind on one scale.
        hidden_channels: channels of the hidden layers of each network.
        num_blocks: residual blocks of each network; each has two 3x3 convolutions.
        context_dim: length of the context vector of a conditional flow, such as a class as
            one-hot; 0 for none.
        activation: "relu", "leaky_relu", "elu", "gelu", "silu" or "tanh".
        weight_norm: whether kernels have a length and a direction of their own.
        law: "affine", "additive" or "spline", as for `maf`.
        seed: in Pyro of the initial weights; in NumPyro a key draws them.

    Raises:
        ValueError, TypeError: for arguments out of range; the message says what was expected.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, sections 3.4 to
        3.6 and figure 4.

    Example:
        >>> spec = realnvp_image((3, 8, 8), num_scales=2)
        >>> spec.event_shape, spec.input_dim, len(spec.layers)
        ((3, 8, 8), 192, 4)
    """
    checks.positive_int("num_scales", num_scales)
    checks.positive_int("num_couplings", num_couplings)
    checks.int_at_least("seed", seed, 0)
    shape = _checked_shape(image_shape, num_scales, num_scales - 1)
    law_spec = named_law(law, num_couplings * (2 * num_scales - 1) + 1)
    network = _Network(hidden_channels, num_blocks, context_dim, activation, weight_norm)

    def level(shape: ImageShape, scale: int) -> ComposeSpec:
        is_last = scale == num_scales - 1
        checkerboards = [
            network.coupling(shape, CheckerboardMask(flip=i % 2 == 1), law_spec)
            for i in range(num_couplings + is_last)
        ]
        if is_last:
            return ComposeSpec(tuple(checkerboards))
        squeezed = _squeezed(shape)
        factored_out = OnChannelsSpec(level(_half(squeezed), scale + 1), squeezed[0])
        by_channels = [
            network.coupling(squeezed, _half_mask(squeezed, i % 2 == 1), law_spec)
            for i in range(num_couplings)
        ]
        inner = ComposeSpec((factored_out, *by_channels))
        return ComposeSpec((SqueezedSpec(inner), *checkerboards))

    return level(shape, 0)


def glow(
    image_shape: Sequence[int],
    *,
    num_scales: int,
    num_steps: int,
    hidden_channels: int = 32,
    num_blocks: int = 1,
    context_dim: int = 0,
    activation: str = "relu",
    weight_norm: bool = True,
    law: str = "affine",
    started: bool = False,
    seed: int = 0,
) -> FlowSpec:
    """Glow: steps of ActNorm, invertible 1x1 convolution and coupling, on several scales.

    From data to base, every scale squeezes 2x2 pixels into channels and does ``num_steps`` steps;
    every scale but the last one then factors out half of the channels, given the other half: one
    more coupling, which the authors' code has as a learnt prior. Couplings move one half of the
    channels and the other in turns, since the convolutions start at the identity.

    ActNorm starts from data: `fit_density` does it by itself; elsewhere call
    ``start_from_data(flow, images)``, or take ``started=True``.

    Cost: one network pass per step in either direction; the inverse is exact.

    Args:
        image_shape: (channels, height, width); height and width divisible by ``2 ** num_scales``.
        num_scales: how often the image is squeezed.
        num_steps: on each scale.
        hidden_channels: channels of the hidden layers of each network.
        num_blocks: residual blocks of each network; each has two 3x3 convolutions.
        context_dim: length of the context vector of a conditional flow, such as a class as
            one-hot; 0 for none.
        activation: "relu", "leaky_relu", "elu", "gelu", "silu" or "tanh".
        weight_norm: whether kernels have a length and a direction of their own.
        law: "affine", "additive" or "spline", as for `maf`.
        started: True for ActNorm layers that start as the identity and need no data.
        seed: in Pyro of the initial weights; in NumPyro a key draws them.

    Raises:
        ValueError, TypeError: for arguments out of range; the message says what was expected.

    References:
        Kingma, Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018, section 3
        and figure 2.

    Example:
        >>> spec = glow((3, 8, 8), num_scales=3, num_steps=2)
        >>> spec.event_shape, spec.input_dim
        ((3, 8, 8), 192)
    """
    checks.positive_int("num_scales", num_scales)
    checks.positive_int("num_steps", num_steps)
    checks.int_at_least("seed", seed, 0)
    shape = _checked_shape(image_shape, num_scales, num_scales)
    law_spec = named_law(law, num_steps * num_scales + num_scales - 1)
    network = _Network(hidden_channels, num_blocks, context_dim, activation, weight_norm)

    def level(shape: ImageShape, scale: int) -> ComposeSpec:
        squeezed = channels, height, width = _squeezed(shape)
        layers: list[FlowSpec] = []
        if scale < num_scales - 1:
            layers.append(OnChannelsSpec(level(_half(squeezed), scale + 1), channels))
            layers.append(network.coupling(squeezed, _half_mask(squeezed, False), law_spec))
        for i in range(num_steps):
            layers += [
                network.coupling(squeezed, _half_mask(squeezed, i % 2 == 1), law_spec),
                Conv1x1Spec(LULinearSpec(channels), height, width),
                PerPixelSpec(ActNormSpec(channels, started), height, width),
            ]
        return ComposeSpec((SqueezedSpec(ComposeSpec(tuple(layers))),))

    return level(shape, 0)


class _Network:
    """The couplings' networks, all alike but for their channels."""

    def __init__(
        self,
        hidden_channels: int,
        num_blocks: int,
        context_dim: int,
        activation: str,
        weight_norm: bool,
    ) -> None:
        width = checks.positive_int("hidden_channels", hidden_channels)
        self.hidden_dims = (width,) * checks.positive_int("num_blocks", num_blocks)
        self.context_dim = context_dim
        self.activation = activation
        self.weight_norm = weight_norm

    def coupling(self, shape: ImageShape, mask: ImageMaskSpec, law: LawSpec) -> ImageCouplingSpec:
        """A coupling of that shape, mask and law."""
        seen, moved = mask.channels(shape)
        net = ConvNetSpec(
            hidden_dims=self.hidden_dims,
            activation=self.activation,
            context_dim=self.context_dim,
            num_inputs=seen,
            num_outputs=law.num_conditioned * moved,
            residual=True,
            weight_norm=self.weight_norm,
        )
        return ImageCouplingSpec(shape, mask, net, law)


def _checked_shape(image_shape: Sequence[int], num_scales: int, num_squeezes: int) -> ImageShape:
    shape = checks.image_shape("image_shape", image_shape)
    if shape[1] % 2**num_squeezes or shape[2] % 2**num_squeezes:
        raise ValueError(
            f"image_shape: num_scales={num_scales} halves height and width {num_squeezes} times, "
            f"so expected both divisible by {2**num_squeezes}, got (channels, height, width)="
            f"{shape}; pad the images, or take fewer scales"
        )
    return shape


def _squeezed(shape: ImageShape) -> ImageShape:
    channels, height, width = shape
    return 4 * channels, height // 2, width // 2


def _half(shape: ImageShape) -> ImageShape:
    channels, height, width = shape
    return channels // 2, height, width


def _half_mask(shape: ImageShape, flip: bool) -> ChannelMask:
    return ChannelMask(masks.half_mask(shape[0], flip=flip))

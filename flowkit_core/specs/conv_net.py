"""Convolutional conditioners: networks from images to the parameters of a law at each pixel."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod

from flowkit_core import checks
from flowkit_core.specs.base import ArraySpec
from flowkit_core.specs.conditioners import ConditionerSpec

# Height and width of every kernel; images are padded with zeros, so that sizes stay.
KERNEL = (3, 3)


@dataclass(frozen=True)
class ConvNetSpec(ConditionerSpec, kind="conv_net"):
    """A stack of 3x3 convolutions from images of ``num_inputs`` channels to ``num_outputs``.

    A context enters the first layer, as a bias of each channel. The last layer starts at zero.

    Args:
        hidden_dims: channels of the hidden layers.
        activation: one of ``ACTIVATIONS``.
        context_dim: length of the context vector, 0 for none.
        num_inputs: channels of the images.
        num_outputs: channels of the result.
        residual: pre-activation residual blocks of two convolutions each, one per entry of
            ``hidden_dims``, which must then be equal (Dinh et al. 2017, section 3.6).
        weight_norm: every convolution but the last has kernels of a trained length and direction:
            ``exp(gain) v / (sqrt(3) |v|)`` for each output (Salimans and Kingma 2016). The constant
            gives the kernels the length that they start with otherwise.
    """

    num_inputs: int
    num_outputs: int
    residual: bool
    weight_norm: bool

    def __post_init__(self) -> None:
        self._check()
        for name in ("num_inputs", "num_outputs"):
            object.__setattr__(self, name, checks.positive_int(name, getattr(self, name)))
        checks.boolean("residual", self.residual)
        checks.boolean("weight_norm", self.weight_norm)
        self._check_residual(self.residual)

    def layer_sizes(self) -> list[tuple[int, int, int]]:
        """Output channels, input channels and inputs seen, of each convolution."""
        hidden = self.hidden_dims
        if self.residual:
            hidden = hidden[:1] * (1 + 2 * len(hidden))
        widths = (self.num_inputs, *hidden, self.num_outputs)
        return [(b, a, a * prod(KERNEL)) for a, b in pairwise(widths)]

    def arrays(self) -> tuple[ArraySpec, ...]:
        """The network's arrays, first layer first; ``gain_l`` are log-lengths of kernels."""
        sizes = self.layer_sizes()
        arrays = []
        for array in super().arrays():
            name, _, layer = array.name.partition("_")
            if name == "weight":
                array = ArraySpec(array.name, (*array.shape, *KERNEL), array.fan_in)
            arrays.append(array)
            if name == "bias" and self.weight_norm and int(layer) < len(sizes) - 1:
                arrays.append(ArraySpec(f"gain_{layer}", array.shape))
        return tuple(arrays)

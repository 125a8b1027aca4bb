"""What the conditioners share: a stack of linear layers whose arrays a spec names."""

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowkit_core.specs import ArraySpec, ConditionerSpec
from pyro_flowkit.activations import ACTIVATIONS, IN_PLACE


def draw_arrays(arrays: Iterable[ArraySpec], generator: torch.Generator) -> dict[str, Tensor]:
    """Start values of ``arrays`` in torch's default dtype: zeros, or uniform in +-1/sqrt(fan_in).

    Args:
        arrays: names, shapes and start values.
        generator: the only source of randomness; it lives on the CPU, so that a seed gives the
            same weights on every device.
    """
    drawn = {}
    for array in arrays:
        value = torch.zeros(array.shape)
        if array.fan_in:
            bound = array.fan_in**-0.5
            value.uniform_(-bound, bound, generator=generator)
        drawn[array.name] = value
    return drawn


class Conditioner(nn.Module):
    """A network from inputs (and a context) to the raw parameters of a law.

    Any module whose ``forward(inputs, context=None)`` maps (..., inputs) to (..., outputs) can
    stand in its place; then the flow has no spec.

    Args:
        spec: widths, activation, context.
        arrays: tensors under the names of ``spec.arrays()``.

    Raises:
        ValueError: if the names are not those of the spec.
    """

    spec: ConditionerSpec
    context_weight: Tensor

    def __init__(self, spec: ConditionerSpec, arrays: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.spec = spec
        self.num_layers = len(spec.layer_sizes())
        names = [array.name for array in spec.arrays()]
        if set(names) != set(arrays):
            raise ValueError(f"arrays: expected the names {names}, got {sorted(arrays)}")
        for name in names:
            self.register_parameter(name, nn.Parameter(arrays[name].detach().clone()))
        self._array_names = tuple(names)

    def named_arrays(self) -> dict[str, Tensor]:
        """The arrays by name; much quicker than ``named_parameters``, which looks for more."""
        return {name: getattr(self, name) for name in self._array_names}

    def activation(self, values: Tensor) -> Tensor:
        """The spec's activation function."""
        return ACTIVATIONS[self.spec.activation](values)

    def activated(self, values: Tensor) -> Tensor:
        """The activations of values that nobody else holds, in their place where that is right."""
        name = self.spec.activation
        return IN_PLACE.get(name, ACTIVATIONS[name])(values)

    def weight(self, layer: int) -> Tensor:
        """Weight (outputs x inputs) of one linear layer."""
        weight: Tensor = getattr(self, f"weight_{layer}")
        return weight

    def bias(self, layer: int) -> Tensor:
        """Bias of one linear layer."""
        bias: Tensor = getattr(self, f"bias_{layer}")
        return bias

    def linear(self, layer: int, inputs: Tensor) -> Tensor:
        """Apply one linear layer."""
        return F.linear(inputs, self.weight(layer), self.bias(layer))

    def first(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        """The first linear layer, where the context comes in."""
        outputs = self.linear(0, inputs)
        if context is None:
            return outputs
        return outputs + F.linear(context, self.context_weight)

    def residual_forward(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        """The same layers in pre-activation residual blocks of two, between the first and last."""
        stream = self.first(inputs, context)
        for layer in range(1, self.num_layers - 1, 2):
            inner = self.activated(self.linear(layer, self.activation(stream)))
            stream = stream + self.linear(layer + 1, inner)
        return self.linear(self.num_layers - 1, self.activated(stream))

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        """Map (..., inputs) and a context (..., context_dim) to (..., outputs)."""
        outputs = self.first(inputs, context)
        for layer in range(1, self.num_layers):
            outputs = self.linear(layer, self.activated(outputs))
        return outputs

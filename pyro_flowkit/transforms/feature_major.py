"""A MADE as the sequential direction sees it: rows are features, columns are points.

Hidden units are sorted by degree, so the units of one step are contiguous rows and what they see is
a prefix. Layer l of the network is

    pre_l = W_l input_l + b_l  [+ pre_{l-2} for the even layers of residual blocks],
    input_0 = x,    input_{l+1} = act(pre_l),    raw = W_last input_last + b_last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flowkit_core.specs import MADESpec
from flowkit_core.sweep import SweepBlock
from pyro_flowkit.activations import ACTIVATIONS


@dataclass(frozen=True)
class FeatureMajorMADE:
    """Masked weights and biases of one network for one batch of points.

    Args:
        spec: the network's architecture.
        weights: masked weight (outputs, inputs) of every linear layer, the output layer last. Rows
            of the output layer are sorted by position, then by parameter.
        biases: bias of every linear layer, (outputs, batch); the context is part of the first.
    """

    spec: MADESpec
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @classmethod
    def of(
        cls,
        spec: MADESpec,
        arrays: Mapping[str, Tensor],
        masks: Sequence[Tensor],
        context: Tensor | None,
        points: Tensor,
    ) -> "FeatureMajorMADE":
        """Arrange a network's arrays.

        Args:
            spec: the network's architecture.
            arrays: its arrays by name.
            masks: the mask of every linear layer's weight.
            context: (batch, context_dim), or None.
            points: any tensor of one row for each point, (batch, ...).
        """
        weights = [arrays[f"weight_{i}"] * mask for i, mask in enumerate(masks)]
        biases = [arrays[f"bias_{i}"][:, None] for i in range(len(masks))]
        if context is not None:
            biases[0] = torch.addmm(biases[0], arrays["context_weight"], context.T)
        sizes = (spec.num_params, spec.input_dim)
        weights[-1] = swap_rows(weights[-1], *sizes)
        biases[-1] = swap_rows(biases[-1], *sizes)
        # Full matrices: adding a product onto a broadcast column is several times slower.
        ones = torch.ones_like(points[:, 0])
        return cls(spec, tuple(weights), tuple(bias * ones for bias in biases))

    @property
    def num_hidden(self) -> int:
        """Number of linear layers before the output layer."""
        return len(self.weights) - 1

    def skips(self, layer: int) -> bool:
        """Whether a hidden layer adds the pre-activation of two layers before."""
        return self.spec.residual and layer >= 2 and layer % 2 == 0

    def rows(self, block: SweepBlock, layer: int) -> slice:
        """Outputs of a linear layer that belong to a block; layer -1 stands for the input x."""
        if layer == -1:
            return slice(block.start, block.stop)
        if layer == self.num_hidden:
            return slice(block.start * self.spec.num_params, block.stop * self.spec.num_params)
        return slice(*block.units[0 if self.spec.residual else layer])

    def activation(self, pre: Tensor) -> Tensor:
        """The spec's activation function."""
        return ACTIVATIONS[self.spec.activation](pre)

    def evaluate(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One parallel pass: raw outputs (D, num_params, batch) and the pre-activations."""
        pres: list[Tensor] = []
        inputs = x
        for layer in range(self.num_hidden):
            pre = torch.addmm(self.biases[layer], self.weights[layer], inputs)
            pres.append(pre + pres[layer - 2] if self.skips(layer) else pre)
            inputs = self.activation(pres[-1])
        raw = torch.addmm(self.biases[-1], self.weights[-1], inputs)
        return raw.unflatten(0, (self.spec.input_dim, self.spec.num_params)), tuple(pres)


def swap_rows(values: Tensor, outer: int, inner: int) -> Tensor:
    """Rows sorted by (outer, inner) index, sorted by (inner, outer) instead."""
    return values.unflatten(0, (outer, inner)).transpose(0, 1).flatten(0, 1)

"""Conditioners: the networks that yield the parameters of a law.

Linear layer l has the arrays ``weight_l`` (outputs x inputs) and ``bias_l``. A context enters the
first layer through ``context_weight``. The last layer starts at zero, so that every law starts as
the identity.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise

import numpy as np

from flowkit_core import checks, masks
from flowkit_core.specs.base import ArraySpec, Spec

ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "tanh")


@dataclass(frozen=True)
class ConditionerSpec(Spec):
    """A feed-forward network: widths, activation, context."""

    hidden_dims: tuple[int, ...]
    activation: str
    context_dim: int

    def _check(self) -> None:
        object.__setattr__(self, "hidden_dims", checks.widths("hidden_dims", self.hidden_dims))
        checks.choice("activation", self.activation, ACTIVATIONS)
        object.__setattr__(
            self, "context_dim", checks.int_at_least("context_dim", self.context_dim, 0)
        )

    def _check_residual(self, residual: bool) -> None:
        if residual and len(set(self.hidden_dims)) != 1:
            raise ValueError(
                "hidden_dims: residual blocks need one or more equal widths, "
                f"got {self.hidden_dims}"
            )

    def layer_sizes(self) -> list[tuple[int, int, int]]:
        """Outputs, inputs and mean number of inputs seen, of each linear layer."""
        raise NotImplementedError

    def arrays(self) -> tuple[ArraySpec, ...]:
        """The network's arrays, first layer first."""
        sizes = self.layer_sizes()
        arrays = []
        for i, (outputs, inputs, seen) in enumerate(sizes):
            fan_in = 0 if i == len(sizes) - 1 else max(1, seen)
            arrays += [
                ArraySpec(f"weight_{i}", (outputs, inputs), fan_in),
                ArraySpec(f"bias_{i}", (outputs,), fan_in),
            ]
        if self.context_dim:
            shape = (sizes[0][0], self.context_dim)
            fan_in = self.context_dim if len(sizes) > 1 else 0
            arrays.append(ArraySpec("context_weight", shape, fan_in))
        return tuple(arrays)


@dataclass(frozen=True)
class MLPSpec(ConditionerSpec, kind="mlp"):
    """A multi-layer perceptron from ``num_inputs`` numbers (and a context) to ``num_outputs``."""

    num_inputs: int
    num_outputs: int

    def __post_init__(self) -> None:
        self._check()
        num_inputs = checks.int_at_least("num_inputs", self.num_inputs, 0)
        num_outputs = checks.positive_int("num_outputs", self.num_outputs)
        object.__setattr__(self, "num_inputs", num_inputs)
        object.__setattr__(self, "num_outputs", num_outputs)

    def layer_sizes(self) -> list[tuple[int, int, int]]:
        """Outputs, inputs and inputs seen (all), of each linear layer."""
        widths = (self.num_inputs, *self.hidden_dims, self.num_outputs)
        return [(b, a, a) for a, b in pairwise(widths)]


@dataclass(frozen=True)
class MADESpec(ConditionerSpec, kind="made"):
    """A masked network (Germain et al. 2015): parameters of position j see positions below j.

    Outputs are laid out parameter by parameter: row ``p * input_dim + j`` is parameter p of
    position j.

    Args:
        input_dim: number of coordinates D.
        num_params: parameters per coordinate.
        hidden_dims: widths; any, also narrower than D, also none at all.
        residual: pre-activation residual blocks of two masked layers each, one per entry of
            ``hidden_dims``, which must then be equal (ResMADE, Durkan and Nash 2019).
        activation: one of ``ACTIVATIONS``.
        context_dim: length of the context vector, 0 for none.
    """

    input_dim: int
    num_params: int
    residual: bool

    def __post_init__(self) -> None:
        self._check()
        object.__setattr__(self, "input_dim", checks.positive_int("input_dim", self.input_dim))
        object.__setattr__(self, "num_params", checks.positive_int("num_params", self.num_params))
        checks.boolean("residual", self.residual)
        self._check_residual(self.residual)

    @cached_property
    def degrees(self) -> tuple[masks.Degrees, ...]:
        """Sorted degrees of each hidden layer's units (one entry for a whole residual stream)."""
        widths = self.hidden_dims[:1] if self.residual else self.hidden_dims
        context = self.context_dim > 0
        return tuple(masks.hidden_degrees(self.input_dim, w, context=context) for w in widths)

    @cached_property
    def masks(self) -> tuple[masks.Mask, ...]:
        """Boolean mask of each linear layer's weight, first layer first."""
        if not self.degrees:
            return (np.tile(masks.strict_mask(self.input_dim), (self.num_params, 1)),)
        inner = list(self.degrees)
        if self.residual:
            inner = inner * (1 + 2 * len(self.hidden_dims))
        first = masks.input_mask(inner[0], self.input_dim)
        hidden = [masks.hidden_mask(b, a) for a, b in pairwise(inner)]
        last = np.tile(masks.output_mask(self.input_dim, inner[-1]), (self.num_params, 1))
        return (first, *hidden, last)

    def layer_sizes(self) -> list[tuple[int, int, int]]:
        """Outputs, inputs and mean number of unmasked inputs, of each linear layer.

        Counted by degree, without the masks: the widths of a spec from a file are not to be
        trusted with memory before the file's arrays have been found to fit them.
        """
        d, outputs = self.input_dim, self.num_params * self.input_dim
        if not self.hidden_dims:
            return [(outputs, d, round(Fraction(d - 1, 2)))]
        context = self.context_dim > 0
        widths = list(self.hidden_dims)
        if self.residual:
            widths = widths[:1] * (1 + 2 * len(widths))
        # up_to[l][j]: units of hidden layer l of degree j or less.
        up_to = [masks.units_up_to(d, width, context=context) for width in widths]
        exactly = [[b - a for a, b in pairwise([0, *counts])] for counts in up_to]
        seen = [sum(j * n for j, n in enumerate(exactly[0]))]
        seen += [
            sum(n * m for n, m in zip(out, into, strict=True))
            for into, out in zip(up_to, exactly[1:], strict=False)
        ]
        seen.append(self.num_params * sum(up_to[-1]))
        rows, columns = [*widths, outputs], [d, *widths]
        return [(r, c, round(Fraction(s, r))) for r, c, s in zip(rows, columns, seen, strict=True)]

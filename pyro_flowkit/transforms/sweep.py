"""The degree-sorted sweep: invert an autoregressive map at the cost of one pass.

See `flowkit_core.sweep` for the plan. Arrays are feature-major here, (features, batch): the units
of one step are then contiguous rows.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from flowkit_core.specs import MADESpec
from flowkit_core.sweep import SweepStep, sweep_steps
from pyro_flowkit.activations import ACTIVATIONS
from pyro_flowkit.laws import Law


@torch.no_grad()
def sweep(
    spec: MADESpec,
    weights: Mapping[str, Tensor],
    law: Law,
    free: Tensor | None,
    v: Tensor,
    context: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Find u with ``law.forward(u_j; params(u_1 .. u_{j-1})) = v_j``, coordinate by coordinate.

    Each hidden unit is evaluated once, from the prefix of units it may see; D steps together do
    the arithmetic of one masked pass. No graph is recorded.

    Args:
        spec: the conditioner's architecture.
        weights: its arrays by name.
        law: the law that the parallel map applies.
        free: the law's free parameters (num_free, D), or None.
        v: (batch, D), in autoregressive order.
        context: (batch, context_dim), or None.

    Returns:
        u of shape (batch, D) and the sum of log-slopes du/dv, (batch,).
    """
    rows = v.T.contiguous()
    known = torch.empty_like(rows)
    log_slopes = torch.empty_like(rows)
    net = _Network(spec, weights, context)
    hidden = _ResidualUnits(net, known) if spec.residual else _Units(net, known)
    weight, bias = net.grouped_output()
    for step in sweep_steps(spec):
        seen = hidden.advance(step)
        raw = torch.addmm(
            bias[step.start : step.stop].flatten(0, 1),
            weight[step.start : step.stop, :, : seen.shape[0]].flatten(0, 1),
            seen,
        ).unflatten(0, (step.stop - step.start, spec.num_params))
        params = raw.unbind(1)
        if free is not None:
            params += free[:, step.start : step.stop, None].unbind(0)
        u, log_slope = law.inverse(rows[step.start : step.stop], params)
        known[step.start : step.stop] = u
        log_slopes[step.start : step.stop] = log_slope
    return known.T.contiguous(), log_slopes.sum(0)


class _Network:
    """Weights and biases in the layout of the sweep; the context is part of the first bias."""

    def __init__(
        self, spec: MADESpec, weights: Mapping[str, Tensor], context: Tensor | None
    ) -> None:
        self.spec = spec
        self.num_layers = len(spec.masks)
        self.weights = [weights[f"weight_{i}"] for i in range(self.num_layers)]
        self.biases = [weights[f"bias_{i}"][:, None] for i in range(self.num_layers)]
        self.activation = ACTIVATIONS[spec.activation]
        if context is not None:
            self.biases[0] = torch.addmm(self.biases[0], weights["context_weight"], context.T)

    def rows(self, layer: int, start: int, stop: int, seen: Tensor) -> Tensor:
        """Outputs start .. stop of one linear layer, from the prefix of inputs that it sees."""
        weight = self.weights[layer][start:stop, : seen.shape[0]]
        return torch.addmm(self.biases[layer][start:stop], weight, seen)

    def grouped_output(self) -> tuple[Tensor, Tensor]:
        """Output weight (D, num_params, inputs) and bias (D, num_params, 1 or batch)."""
        shape = (self.spec.num_params, self.spec.input_dim)
        weight, bias = (
            t.unflatten(0, shape).transpose(0, 1).contiguous()
            for t in (self.weights[-1], self.biases[-1])
        )
        return weight, bias


class _Units:
    """Activations of plain hidden layers, grown step by step."""

    def __init__(self, net: _Network, known: Tensor) -> None:
        self.net = net
        self.known = known
        self.layers = [known.new_empty(w, known.shape[1]) for w in net.spec.hidden_dims]

    def advance(self, step: SweepStep) -> Tensor:
        """Evaluate the units that have become computable; return what the outputs may see."""
        seen = self.known[: step.start]
        for layer, (start, stop) in enumerate(step.units):
            if stop > start:
                raw = self.net.rows(layer, start, stop, seen)
                self.layers[layer][start:stop] = self.net.activation(raw)
            seen = self.layers[layer][:stop]
        return seen


class _ResidualUnits:
    """Activations of residual blocks: the input of every matrix product is kept."""

    def __init__(self, net: _Network, known: Tensor) -> None:
        self.net = net
        self.known = known
        width = net.spec.hidden_dims[0]
        # Inputs of each matrix product after the first: two per block, one for the output.
        self.inputs = [known.new_empty(width, known.shape[1]) for _ in range(net.num_layers - 1)]

    def advance(self, step: SweepStep) -> Tensor:
        """Evaluate the units that have become computable; return what the outputs may see."""
        ((start, stop),) = step.units
        if stop > start:
            net, inputs = self.net, self.inputs
            stream = net.rows(0, start, stop, self.known[: step.start])
            for layer in range(1, net.num_layers - 1, 2):
                inputs[layer - 1][start:stop] = net.activation(stream)
                inner = net.rows(layer, start, stop, inputs[layer - 1][:stop])
                inputs[layer][start:stop] = net.activation(inner)
                stream = stream + net.rows(layer + 1, start, stop, inputs[layer][:stop])
            inputs[-1][start:stop] = net.activation(stream)
        return self.inputs[-1][:stop]

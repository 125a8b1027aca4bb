"""The degree-sorted sweep: invert an autoregressive map at the cost of one pass.

See `flowkit_core.sweep` for the plan and `feature_major` for the layout. Each block of steps first
adds up what is known, by one matrix product per layer, then iterates on its own coordinates. With
one step to a block that is the plain sweep; with one block for everything it is the plain Jacobi
iteration.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from flowkit_core.sweep import SweepBlock, sweep_blocks
from pyro_flowkit.activations import activate
from pyro_flowkit.laws import Law
from pyro_flowkit.transforms.feature_major import FeatureMajorMADE
from pyro_flowkit.transforms.iteration import Iteration


@dataclass(frozen=True)
class Solution:
    """What the sequential direction found.

    Args:
        u: (D, batch).
        log_slope: log du/dv of each coordinate, (D, batch).
        raw: outputs of the network, (D, num_params, batch).
        pres: pre-activations of its hidden layers, (units, batch) each.
        iterations: the most that any block took.
    """

    u: Tensor
    log_slope: Tensor
    raw: Tensor
    pres: tuple[Tensor, ...]
    iterations: int


@torch.no_grad()
def sweep(
    net: FeatureMajorMADE, law: Law, free: Tensor | None, v: Tensor, *, depth: int
) -> Solution:
    """Find u with ``law.forward(u_j; params(u_1 .. u_{j-1})) = v_j``.

    Args:
        net: the conditioner.
        law: the law that the parallel map applies.
        free: the law's free parameters (num_free, D), or None.
        v: (D, batch), in autoregressive order.
        depth: steps per block, see `flowkit_core.sweep.sweep_blocks`.
    """
    state = _State(net, law, free, v)
    iterations = max(state.solve(block) for block in sweep_blocks(net.spec, depth))
    *pres, raw = state.outputs
    raw = raw.unflatten(0, (net.spec.input_dim, net.spec.num_params))
    return Solution(state.u, state.log_slope, raw, tuple(pres), iterations)


class _State:
    """Everything found so far; blocks fill it in from the top."""

    def __init__(self, net: FeatureMajorMADE, law: Law, free: Tensor | None, v: Tensor) -> None:
        self.net, self.law, self.free, self.v = net, law, free, v
        self.u = torch.empty_like(v)
        self.log_slope = torch.empty_like(v)
        # Of linear layer l: inputs[l] is what it multiplies, outputs[l] what it puts out.
        self.outputs = [torch.empty_like(bias) for bias in net.biases]
        self.inputs = [self.u, *(torch.empty_like(pre) for pre in self.outputs[:-1])]

    def solve(self, block: SweepBlock) -> int:
        """Find the coordinates of one block; return the number of iterations."""
        positions = slice(block.start, block.stop)
        v = self.v[positions]
        hidden = [_HiddenShare(self, block, layer) for layer in range(self.net.num_hidden)]
        output = _Share(self, block, self.net.num_hidden)
        params = output.outputs.unflatten(0, (-1, self.net.spec.num_params)).unbind(1)
        if self.free is not None:
            params += self.free[:, positions, None].unbind(0)
        guess = v  # exact for the identity
        iteration = Iteration(guess)
        for count in range(1, block.depth + 1):  # that many are exact
            inputs = guess
            for share in hidden:
                inputs = share.evaluate(inputs)
            output.evaluate(inputs)
            new, log_slope = self.law.inverse(v, params)
            if count == block.depth or iteration.settled(guess, new):
                break
            guess = iteration.next_guess(new)
        self.u[positions] = new
        self.log_slope[positions] = log_slope
        return count


class _Share:
    """A linear layer's outputs for one block: what is known of them, and what is not yet."""

    def __init__(self, state: _State, block: SweepBlock, layer: int) -> None:
        net = state.net
        rows, own = net.rows(block, layer), net.rows(block, layer - 1)
        weight = net.weights[layer][rows]
        self.base = net.biases[layer][rows]
        if own.start:
            known = state.inputs[layer][: own.start]
            self.base = torch.addmm(self.base, weight[:, : own.start], known)
        self.weight = weight[:, own]
        self.outputs = state.outputs[layer][rows]

    def evaluate(self, inputs: Tensor) -> Tensor:
        """The outputs, given the block's own inputs."""
        return torch.addmm(self.base, self.weight, inputs, out=self.outputs)


class _HiddenShare(_Share):
    """The same with the activation after it."""

    def __init__(self, state: _State, block: SweepBlock, layer: int) -> None:
        super().__init__(state, block, layer)
        rows = state.net.rows(block, layer)
        self.activation = state.net.spec.activation
        self.skipped = state.outputs[layer - 2][rows] if state.net.skips(layer) else None
        self.activated = state.inputs[layer + 1][rows]

    def evaluate(self, inputs: Tensor) -> Tensor:
        """The activations of the block's units, given the block's own inputs."""
        pre = super().evaluate(inputs)
        if self.skipped is not None:
            pre.add_(self.skipped)
        return activate(self.activation, pre, out=self.activated)

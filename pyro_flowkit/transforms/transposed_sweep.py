r"""Gradients through the sequential direction: the sweep run backwards.

Let ``v_j = law(u_j; params_j)`` be the parallel map at the solution u, with log-slopes l_j, and let
g_u and g_l be cotangents of u and of ``-sum_j l_j``. The implicit function theorem asks for an a
(the cotangent of v) with

    dv_j/du_j a_j = g_u_j - g_l dl_j/du_j + (W_0^T c_0)_j,
    C_pj          = -g_l dl_j/dp_j - a_j dv_j/dp_j,               (cotangents of the raw outputs)
    c_l           = act'(pre_l) (W_{l+1}^T c_{l+1}) [+ c_{l+2}],    c_last from C.

Position j hears only of positions after it, so the blocks of the sweep are taken in reverse, each
solved by the same kind of iteration. The c_l are then the cotangents of all pre-activations, from
which one matrix product per layer gives the gradients of the weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from flowkit_core.sweep import SweepBlock, sweep_blocks
from pyro_flowkit.transforms.feature_major import FeatureMajorMADE
from pyro_flowkit.transforms.iteration import Iteration
from pyro_flowkit.transforms.linearized import Linearized


@dataclass(frozen=True)
class Cotangents:
    """The a and c of the system above.

    Args:
        v: a, (D, batch).
        raw: of the network's outputs, (D * num_params, batch).
        pres: of the pre-activations, (units, batch) each.
    """

    v: Tensor
    raw: Tensor
    pres: tuple[Tensor, ...]


@torch.no_grad()
def transposed_sweep(
    net: FeatureMajorMADE, at: Linearized, g_u: Tensor, g_l: Tensor, *, depth: int
) -> Cotangents:
    """Solve the system above.

    Args:
        net: the conditioner.
        at: its derivatives.
        g_u: cotangent of u, (D, batch).
        g_l: cotangent of minus the sum of log-slopes, (batch,).
        depth: steps per block.
    """
    state = _State(net, at, g_u, g_l)
    for block in reversed(sweep_blocks(net.spec, depth)):
        state.solve(block)
    *pres, raw = state.outputs
    return Cotangents(state.a, raw, tuple(pres))


class _State:
    """Everything found so far; blocks fill it in from the bottom."""

    def __init__(self, net: FeatureMajorMADE, at: Linearized, g_u: Tensor, g_l: Tensor) -> None:
        self.net, self.at = net, at
        self.right = torch.addcmul(g_u, at.slope_by_u, g_l, value=-1)
        self.direct = at.slope_by_raw * -g_l
        self.a = torch.empty_like(self.right)
        # outputs[l]: cotangents of what linear layer l puts out, before the activation.
        self.outputs = [torch.empty_like(bias) for bias in net.biases]

    def solve(self, block: SweepBlock) -> None:
        """Find the cotangents of one block."""
        positions = slice(block.start, block.stop)
        slope = self.at.slope[positions]
        first = _Share(self, block, 0, self.right[positions])
        hidden = [_HiddenShare(self, block, i) for i in reversed(range(self.net.num_hidden))]
        # What comes from later blocks alone: exact for the block's last step.
        a = first.base / slope
        iteration = Iteration(a)
        self._spread(block, a, hidden)
        for count in range(1, block.depth):  # that many more are exact
            new = first.product().div_(slope)
            done = iteration.settled(a, new)
            a = iteration.next_guess(new) if count < block.depth - 1 else new
            if done:  # the cotangents further down differ from those of the new a by rounding
                break
            self._spread(block, a, hidden)
        self.a[positions] = a

    def _spread(self, block: SweepBlock, a: Tensor, hidden: list["_HiddenShare"]) -> None:
        """From a block's a to the cotangents of everything in the network."""
        positions = slice(block.start, block.stop)
        raw = self.outputs[-1][self.net.rows(block, self.net.num_hidden)]
        torch.addcmul(
            self.direct[positions],
            a[:, None],
            self.at.by_raw[positions],
            value=-1,
            out=raw.view_as(self.direct[positions]),
        )
        for share in hidden:
            share.advance()


class _Share:
    """Cotangents of a linear layer's inputs for one block: from later blocks, and from its own."""

    def __init__(
        self, state: _State, block: SweepBlock, layer: int, constant: Tensor | None = None
    ) -> None:
        net = state.net
        rows, own = net.rows(block, layer), net.rows(block, layer - 1)
        transposed, outputs = net.weights[layer][:, own].T, state.outputs[layer]
        later = outputs[rows.stop :]
        if constant is None:
            self.base = torch.mm(transposed[:, rows.stop :], later)
        else:
            self.base = torch.addmm(constant, transposed[:, rows.stop :], later)
        self.transposed, self.outputs = transposed[:, rows], outputs[rows]

    def product(self) -> Tensor:
        """The cotangents at the present guess."""
        return torch.addmm(self.base, self.transposed, self.outputs)


class _HiddenShare(_Share):
    """The same carried back through the activation of hidden layer ``layer``."""

    def __init__(self, state: _State, block: SweepBlock, layer: int) -> None:
        super().__init__(state, block, layer + 1)
        rows = state.net.rows(block, layer)
        self.slope = state.at.activations[layer][rows]
        self.pre = state.outputs[layer][rows]
        skipping = layer + 2 < state.net.num_hidden and state.net.skips(layer + 2)
        self.skipped = state.outputs[layer + 2][rows] if skipping else None

    def advance(self) -> None:
        """Find the cotangents of the block's units at the present guess."""
        torch.mul(self.product(), self.slope, out=self.pre)
        if self.skipped is not None:
            self.pre.add_(self.skipped)

"""The sequential direction of a layer with a MADE, and its gradients, both by sweeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_flowkit.conditioners.made import MADE
from pyro_flowkit.laws import Law
from pyro_flowkit.native.compiled import CompiledSweep, compiled_sweep
from pyro_flowkit.transforms.feature_major import FeatureMajorMADE, swap_rows
from pyro_flowkit.transforms.found import Found
from pyro_flowkit.transforms.linearized import linearize
from pyro_flowkit.transforms.solver import block_depth
from pyro_flowkit.transforms.sweep import sweep
from pyro_flowkit.transforms.transposed_sweep import transposed_sweep


@dataclass(frozen=True)
class MADESolver:
    """One layer's network, law and weights, as the sweeps want them.

    Args:
        conditioner: the network, of which only architecture and masks are used.
        law: the law that the parallel map applies.
        method: "sweep" or "fixed_point".
        context: (n, context_dim), or None.
        free: the law's free parameters (num_free, D), or None.
        weights: the network's arrays by name.
    """

    conditioner: MADE
    law: Law
    method: str
    context: Tensor | None
    free: Tensor | None
    weights: Mapping[str, Tensor]

    @torch.no_grad()
    def solve(self, v: Tensor) -> Found:
        """Invert the parallel map at v, (n, D); compiled where that can be."""
        compiled = self._compiled(v, self.context)
        if compiled is not None:
            return compiled.solve(v)
        net, columns = self.arranged(v), v.T.contiguous()
        depth = block_depth(net.spec, self.method, v.shape[0])
        solution = sweep(net, self.law, self.free, columns, depth=depth)
        u, log_det = solution.u.T.contiguous(), solution.log_slope.sum(0)
        return Found(u, log_det, (solution.raw, *solution.pres), solution.iterations)

    @torch.no_grad()
    def kept_at(self, u: Tensor) -> tuple[Tensor, ...]:
        """What `pull` wants to see, at a u that was not solved for."""
        raw, pres = self.arranged(u).evaluate(u.T)
        return raw, *pres

    def kept_of(self, raw: Tensor, pres: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The same of a pass that the network has made: outputs and pre-activations, a point a row.

        Shapes: (..., outputs) and (..., units) each.
        """
        dims, count = self.conditioner.spec.input_dim, self.conditioner.spec.num_params
        rows = raw.detach().reshape(-1, count, dims)
        return rows.permute(2, 1, 0), *(pre.detach().reshape(-1, pre.shape[-1]).T for pre in pres)

    @torch.no_grad()
    def pull(
        self,
        u: Tensor,
        kept: Sequence[Tensor],
        g_u: Tensor,
        g_l: Tensor,
        wanted: Sequence[bool] = (),
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The reverse rule of `implicit`; ``wanted``: context, free parameters, weights."""
        compiled = self._compiled(u, None)  # the context is in what was kept
        if compiled is None:
            a, outputs, c_free = self._pulled(u, kept, g_u, g_l)
        else:
            a, outputs, c_scale = compiled.pull(u, kept, g_u, g_l)
            c_free = [] if c_scale is None else [c_scale]
        wants = list(wanted)
        gradients: list[Tensor | None] = []
        if wants and self.context is not None:
            into_context = outputs[0].T @ self.weights["context_weight"] if wants[0] else None
            gradients.append(into_context)
            del wants[0]
        if wants and self.free is not None:
            gradients.append(torch.stack([c.sum(1) for c in c_free]))
            del wants[0]
        if any(wants):
            found = self._weight_gradients(u, kept[1:], outputs)
            gradients += [found[name] for name in self.weights]
        else:
            gradients += [None] * len(wants)
        return a, tuple(gradients)

    def _pulled(
        self, u: Tensor, kept: Sequence[Tensor], g_u: Tensor, g_l: Tensor
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Cotangents of v, of what each linear layer puts out, and of the free parameters."""
        net, columns = self.arranged(u), u.T.contiguous()
        raw, *pres = kept
        linear = linearize(net, self.law, self.free, columns, raw, pres)
        depth = block_depth(net.spec, self.method, u.shape[0])
        c = transposed_sweep(net, linear, g_u.T.contiguous(), g_l, depth=depth)
        # Rows in the order of the weights.
        outputs = [*c.pres, swap_rows(c.raw, net.spec.input_dim, net.spec.num_params)]
        slopes = zip(linear.by_free, linear.slope_by_free, strict=True)
        c_free = [-(by_v * c.v + by_l * g_l) for by_v, by_l in slopes]
        return c.v.T.contiguous(), outputs, c_free

    def _compiled(self, like: Tensor, context: Tensor | None) -> CompiledSweep | None:
        if self.method != "sweep":
            return None
        spec = self.conditioner.spec
        return compiled_sweep(spec, self.law, self.weights, context, self.free, like)

    def arranged(self, points: Tensor) -> FeatureMajorMADE:
        """The network with features as rows, for that many points."""
        net = self.conditioner
        masks = [net.mask(layer) for layer in range(net.num_layers)]
        return FeatureMajorMADE.of(net.spec, self.weights, masks, self.context, points)

    def _weight_gradients(
        self, u: Tensor, pres: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """One product per linear layer: cotangents of its outputs times its inputs."""
        gradients = {}
        inputs = [u, *(self.conditioner.activation(pre).T for pre in pres)]
        for layer, (output, values) in enumerate(zip(outputs, inputs, strict=True)):
            gradients[f"weight_{layer}"] = (output @ values).mul_(self.conditioner.mask(layer))
            gradients[f"bias_{layer}"] = output.sum(1)
        if self.context is not None:
            gradients["context_weight"] = outputs[0] @ self.context
        return gradients

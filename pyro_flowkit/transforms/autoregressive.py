"""Masked autoregressive layers, in both orientations."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit_core import checks, masks
from flowkit_core.specs import AutoregressiveSpec
from pyro_flowkit.conditioners.made import MADE
from pyro_flowkit.laws import Law, Params
from pyro_flowkit.transforms.base import Flow
from pyro_flowkit.transforms.implicit import sequential_map
from pyro_flowkit.transforms.sweep import sweep
from pyro_flowkit.transforms.triangular_solve import solve_triangular_system


class Autoregressive(Flow):
    """What both orientations share.

    In autoregressive order let u be the side that the network reads and v the other one; the
    parallel map is ``v_j = p(u_j; parameters(u_1 .. u_{j-1}, context))``.

    Args:
        conditioner: `MADE`, or any module whose outputs (..., num_conditioned * D), parameter by
            parameter, obey the autoregressive property in autoregressive order.
        law: the map of one coordinate.
        order: coordinate ``order[j]`` is the j-th in the order.
        context_dim: length of the context the conditioner takes.
        free: start values (num_free, D) of the law's free parameters; zeros by default.
        spec: the architecture as data; leave it out for a conditioner or law of your own.
    """

    def __init__(
        self,
        conditioner: nn.Module,
        law: Law,
        order: Sequence[int],
        *,
        context_dim: int = 0,
        free: Tensor | None = None,
        spec: AutoregressiveSpec | None = None,
    ) -> None:
        order = checks.permutation("order", order)
        super().__init__(len(order), context_dim=context_dim, spec=spec)
        self.conditioner = conditioner
        self.law = law
        self.free: nn.Parameter | None = None
        if law.num_free:
            start = torch.zeros(law.num_free, len(order)) if free is None else free
            self.free = nn.Parameter(start.clone())
        natural = order == masks.natural_order(len(order))
        inverse = masks.invert_order(order)
        self.register_buffer("_order", None if natural else torch.tensor(order), persistent=False)
        self.register_buffer(
            "_inverse_order", None if natural else torch.tensor(inverse), persistent=False
        )

    @abstractmethod
    def _apply_law(self, u: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """The parallel map p and its log-slope dv/du, element-wise."""

    @abstractmethod
    def _invert_law(self, v: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """The inverse of p and its log-slope du/dv, element-wise."""

    def _to_order(self, values: Tensor) -> Tensor:
        return values if self._order is None else values.index_select(-1, self._order)

    def _from_order(self, values: Tensor) -> Tensor:
        if self._inverse_order is None:
            return values
        return values.index_select(-1, self._inverse_order)

    def _params(self, raw: Tensor, free: Tensor | None) -> Params:
        """Split (..., num_conditioned * D) network outputs and append the free parameters."""
        params = raw.unflatten(-1, (self.law.num_conditioned, self.input_dim)).unbind(-2)
        return params if free is None else (*params, *free.unbind(0))

    def _parallel_map(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        u = self._to_order(u)
        params = self._params(self.conditioner(u, context), self.free)
        v, log_slope = self._apply_law(u, params)
        return self._from_order(v), log_slope.sum(-1)

    def _sequential_map(self, v: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        batch = v.shape[:-1]
        rows = self._to_order(v).reshape(-1, self.input_dim)
        others = [] if context is None else [context.reshape(-1, self.context_dim)]
        others += [] if self.free is None else [self.free]
        others += list(self.conditioner.parameters())
        u, log_det = sequential_map(self, rows, others)
        return self._from_order(u.reshape(*batch, self.input_dim)), log_det.reshape(batch)

    def _split_others(
        self, others: Sequence[Tensor]
    ) -> tuple[Tensor | None, Tensor | None, dict[str, Tensor]]:
        """The context, the free parameters and the network's weights by name."""
        rest = list(others)
        context = rest.pop(0) if self.context_dim else None
        free = rest.pop(0) if self.free is not None else None
        names = [name for name, _ in self.conditioner.named_parameters()]
        return context, free, dict(zip(names, rest, strict=True))

    def parallel(self, u: Tensor, others: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The parallel map as a function of all it depends on (`implicit.AutoregressiveMap`)."""
        context, free, weights = self._split_others(others)
        raw = torch.func.functional_call(self.conditioner, weights, (u, context))
        return self._apply_law(u, self._params(raw, free))

    @torch.no_grad()
    def solve(self, v: Tensor, others: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Invert the parallel map without a graph (`implicit.AutoregressiveMap`)."""
        context, free, weights = self._split_others(others)
        if isinstance(self.conditioner, MADE):
            spec = self.conditioner.spec
            return sweep(spec, weights, self._invert_law, free, v, context)
        # A network of unknown structure: each of D passes settles at least one coordinate more.
        u, log_slope = v, torch.zeros_like(v)
        for _ in range(self.input_dim):
            raw = torch.func.functional_call(self.conditioner, weights, (u, context))
            u, log_slope = self._invert_law(v, self._params(raw, free))
        return u, log_slope.sum(-1)


class MaskedAutoregressive(Autoregressive):
    """MAF's layer: the law's parameters are functions of the data.

    ``x_j = tau(z_j; parameters(x_1 .. x_{j-1}, context))``.

    Cost: ``flow.inv(x)`` (scoring) one network pass. ``flow(z)`` (sampling) a sweep of D small
    steps with the arithmetic of one pass; gradients in the memory of one pass. Both are exact.

    References:
        Papamakarios et al., "Masked Autoregressive Flow for Density Estimation", 2017, eq. 3-4.
    """

    @property
    def sequential_forward(self) -> bool:
        """Sampling goes coordinate by coordinate."""
        return True

    def _apply_law(self, u: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        return self.law.inverse(u, params)

    def _invert_law(self, v: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        return self.law.forward(v, params)

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._sequential_map(z, context)

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._parallel_map(x, context)

    def _forward_and_score(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, log_det = self._sequential_map(z, context)
        # log q(x) = log q(z(x)) + log |det dz/dx|: one pullback of the parallel direction.
        (_, inverse_log_det), pull = torch.func.vjp(
            lambda x: self._parallel_map(x, context), x.detach()
        )
        (score_x,) = pull((score, torch.ones_like(inverse_log_det)))
        return x, log_det, score_x


class InverseAutoregressive(Autoregressive):
    """IAF's layer: the law's parameters are functions of the base.

    ``x_j = tau(z_j; parameters(z_1 .. z_{j-1}, context))``.

    Cost: ``flow(z)`` (sampling) one network pass. ``flow.inv(x)`` (scoring) a sweep of D small
    steps with the arithmetic of one pass; gradients in the memory of one pass. Both are exact.

    References:
        Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", 2016,
        equation 10.
    """

    @property
    def sequential_inverse(self) -> bool:
        """Scoring goes coordinate by coordinate."""
        return True

    def _apply_law(self, u: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        return self.law.forward(u, params)

    def _invert_law(self, v: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        return self.law.inverse(v, params)

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._parallel_map(z, context)

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._sequential_map(x, context)

    def _forward_and_score(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, log_det = self._parallel_map(z, context)
        ordered = self._to_order(z.detach())

        def parallel(u: Tensor) -> tuple[Tensor, Tensor]:
            params = self._params(self.conditioner(u, context), self.free)
            return self._apply_law(u, params)

        # score_x = J^-T (score - grad_z log |det J|), J triangular.
        (v, log_slope), pull = torch.func.vjp(parallel, ordered)
        (from_log_det,) = pull((torch.zeros_like(v), torch.ones_like(v)))
        no_slope = torch.zeros_like(v)
        score_x = solve_triangular_system(
            lambda a: pull((a, no_slope))[0],
            log_slope.detach().exp(),
            self._to_order(score) - from_log_det,
        )
        return x, log_det, self._from_order(score_x)

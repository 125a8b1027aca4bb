"""Masked autoregressive layers, in both orientations."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit_core import checks
from flowkit_core.masks import invert_order, natural_order, reverse_order
from flowkit_core.specs import INVERSES, AutoregressiveSpec
from pyro_flowkit.conditioners import MADE, Conditioner
from pyro_flowkit.laws import Inverted, Law, Params
from pyro_flowkit.transforms.base import Flow
from pyro_flowkit.transforms.found import Solver
from pyro_flowkit.transforms.implicit import sequential_map
from pyro_flowkit.transforms.law_params import free_parameters, law_params
from pyro_flowkit.transforms.made_solver import MADESolver
from pyro_flowkit.transforms.modes import needs_unrolling, nothing_recorded
from pyro_flowkit.transforms.network_solver import NetworkSolver
from pyro_flowkit.transforms.permutation import permuted
from pyro_flowkit.transforms.solver import choose_inverse
from pyro_flowkit.transforms.unrolled import unrolled


class Autoregressive(Flow):
    """What both orientations share: the parameters of a coordinate depend on those before it.

    The layer has one **parallel** map, one network pass that gives all coordinates at once, and
    one **sequential** map, its inverse, which finds them one after the other. In autoregressive
    order the parallel map is ``v_j = law(u_j; parameters(u_1 .. u_{j-1}, context))``.

    Args:
        conditioner: a `MADE`, or any module that maps (..., D) (and a context) to
            (..., num_conditioned * D), where the parameters of a position depend on the positions
            before it; parameter by parameter. It works in autoregressive order.
        law: the map of one coordinate.
        order: coordinate ``order[j]`` is the j-th in the order.
        context_dim: length of the context the conditioner takes.
        free: start values (num_free, D) of the law's free parameters, in autoregressive order;
            zeros by default.
        spec: the architecture as data; leave it out for a conditioner or law of your own.

    Raises:
        ValueError, TypeError: if ``order`` is no permutation or ``free`` has another shape.
    """

    free: nn.Parameter | None
    _order: Tensor | None
    _inverse_order: Tensor | None

    def __init__(
        self,
        conditioner: nn.Module,
        law: Law,
        order: Sequence[int],
        *,
        context_dim: int = 0,
        free: Tensor | None = None,
        inverse: str = "auto",
        spec: AutoregressiveSpec | None = None,
    ) -> None:
        order = checks.permutation("order", order)
        context_dim = checks.int_at_least("context_dim", context_dim, 0)
        super().__init__(len(order), context_dim=context_dim, spec=spec)
        self.conditioner = checks.instance("conditioner", conditioner, nn.Module)
        self.law = checks.instance("law", law, Law)
        self.free = free_parameters(law, len(order), free)
        self.inverse = checks.choice("inverse", inverse, INVERSES)
        if inverse == "sweep" and not isinstance(conditioner, MADE):
            raise ValueError(
                'inverse: "sweep" needs a MADE, whose structure is known; got a '
                f'{type(conditioner).__name__}, for which "fixed_point" (or "auto") works'
            )
        natural = order == natural_order(len(order))
        self._reverse = not natural and order == reverse_order(len(order))
        for name, indices in (("_order", order), ("_inverse_order", invert_order(order))):
            buffer = None if natural else torch.tensor(indices)
            self.register_buffer(name, buffer, persistent=False)

    @property
    @abstractmethod
    def _parallel_law(self) -> Law:
        """The law whose forward map the parallel direction applies."""

    def _ordered(self, values: Tensor) -> Tensor:
        return permuted(values, self._order, reverse=self._reverse)

    def _restored(self, values: Tensor) -> Tensor:
        return permuted(values, self._inverse_order, reverse=self._reverse)

    def _parallel_slopes(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The parallel map and the log-slope of each coordinate, in autoregressive order."""
        raw = self.conditioner(u, context)
        return self._parallel_law.forward(u, law_params(self.law, raw, self.free, self.input_dim))

    def _parallel(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The parallel map and its log-determinant, in the user's order."""
        v, log_slope = self._parallel_slopes(self._ordered(u), context)
        return self._restored(v), log_slope.sum(-1)

    def _sequential(self, v: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The sequential map and its log-determinant, in the user's order."""
        if torch.compiler.is_compiling():
            # Its steps follow the data: one break of the graph, rather than many found by trying.
            return torch.compiler.disable(self._sequential_outside_graphs)(v, context)
        return self._sequential_outside_graphs(v, context)

    def _sequential_outside_graphs(
        self, v: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        batch = v.shape[:-1]
        rows = self._ordered(v).reshape(-1, self.input_dim)
        if needs_unrolling():
            given = None if context is None else context.reshape(-1, self.context_dim)
            u, log_det = unrolled(lambda u: self._jacobi_step(u, rows, given), rows)
        elif nothing_recorded():
            found = self.solver(self._others(context), rows.device).solve(rows)
            u, log_det = found.u, found.log_det
        else:
            u, log_det = sequential_map(self, rows, self._others(context))
        return self._restored(u.reshape(*batch, self.input_dim)), log_det.reshape(batch)

    def _jacobi_step(self, u: Tensor, v: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Invert the laws at v with the parameters taken at u."""
        params = law_params(self.law, self.conditioner(u, context), self.free, self.input_dim)
        return self._parallel_law.inverse(v, params)

    @torch.no_grad()
    def solve_sequential(self, v: Tensor, context: Tensor | None) -> tuple[Tensor, str, int | None]:
        """The sequential map, its method, and the iterations if that is a fixed point."""
        solver = self.solver(self._others(context), v.device)
        found = solver.solve(self._ordered(v).reshape(-1, self.input_dim))
        iterations = found.iterations if solver.method == "fixed_point" else None
        return self._restored(found.u.reshape(v.shape)), solver.method, iterations

    def _others(self, context: Tensor | None) -> list[Tensor]:
        """All tensors that the maps depend on besides their argument."""
        others = [] if context is None else [context.reshape(-1, self.context_dim)]
        others += [] if self.free is None else [self.free]
        return others + list(self._weights().values())

    def _weights(self) -> dict[str, Tensor]:
        net = self.conditioner
        return net.named_arrays() if isinstance(net, Conditioner) else dict(net.named_parameters())

    def _split_others(
        self, others: Sequence[Tensor]
    ) -> tuple[Tensor | None, Tensor | None, dict[str, Tensor]]:
        """The context, the free parameters and the network's weights by name."""
        rest = list(others)
        context = rest.pop(0) if self.context_dim else None
        free = rest.pop(0) if self.free is not None else None
        return context, free, dict(zip(self._weights(), rest, strict=True))

    def _params(self, u: Tensor, others: Sequence[Tensor]) -> Params:
        """Parameters of the laws as a function of all they depend on."""
        context, free, weights = self._split_others(others)
        raw = torch.func.functional_call(self.conditioner, weights, (u, context))
        return law_params(self.law, raw, free, self.input_dim)

    def parallel(self, u: Tensor, others: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The parallel map likewise (`implicit.AutoregressiveMap`)."""
        return self._parallel_law.forward(u, self._params(u, others))

    def solver(self, others: Sequence[Tensor], device: torch.device) -> Solver:
        """What finds the sequential direction (`implicit.AutoregressiveMap`)."""
        if not isinstance(self.conditioner, MADE):
            return NetworkSolver(self._parallel_law, self._params, others)
        return self._made_solver(self.conditioner, others, device)

    def _made_solver(
        self, conditioner: MADE, others: Sequence[Tensor], device: torch.device
    ) -> MADESolver:
        method = choose_inverse(self.inverse, input_dim=self.input_dim, device=device)
        return MADESolver(conditioner, self._parallel_law, method, *self._split_others(others))


class MaskedAutoregressive(Autoregressive):
    """MAF: ``x_j = law(z_j; parameters of x_1 .. x_{j-1})``, for density estimation.

    Shapes: z and x (..., D), context (..., context_dim), log-determinants (...).

    Args: see `Autoregressive`.

    Cost: scoring (``flow.inv(x)``) is one network pass. Sampling (``flow(z)``) sweeps over the D
    coordinates with the arithmetic of one pass; its gradients are implicit, in the memory of one
    pass. The inverse is exact.

    Stability: scales are softly bounded by the law; sampling multiplies rounding errors by the
    Jacobian of the flow, so deep flows of wild weights deserve float64.

    References:
        Papamakarios, Pavlakou, Murray, "Masked Autoregressive Flow for Density Estimation", 2017,
        equations 3 and 4.

    Example:
        >>> from pyro_flowkit import maf
        >>> layer = maf(3, num_layers=1, hidden_dims=(8,)).layers[0]
        >>> type(layer).__name__, layer.sequential_forward
        ('MaskedAutoregressive', True)
    """

    @property
    def _parallel_law(self) -> Law:
        return Inverted(self.law)

    @property
    def sequential_forward(self) -> bool:
        """Sampling goes coordinate by coordinate."""
        return True

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._sequential(z, context)

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._parallel(x, context)

    def _push_score(self, z: Tensor, x: Tensor, score: Tensor, context: Tensor | None) -> Tensor:
        # log q(x) = log q(z(x)) + L(x) with z and L the parallel direction: one pullback.
        (_, log_det), pull = torch.func.vjp(  # type: ignore[misc]  # typed for has_aux too
            lambda x: self._parallel(x, context), x
        )
        (score_x,) = pull((score, torch.ones_like(log_det)))
        return score_x


class InverseAutoregressive(Autoregressive):
    """IAF: ``x_j = law(z_j; parameters of z_1 .. z_{j-1})``, for variational guides.

    Shapes: z and x (..., D), context (..., context_dim), log-determinants (...).

    Args: see `Autoregressive`.

    Cost: sampling (``flow(z)``) is one network pass, and scoring the sample drawn is free. Scoring
    foreign data (``flow.inv(x)``) sweeps over the D coordinates with the arithmetic of one pass;
    its gradients are implicit, in the memory of one pass. The inverse is exact.

    Stability: as `MaskedAutoregressive`, with the directions exchanged.

    References:
        Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", 2016,
        equation 10.

    Example:
        >>> from pyro_flowkit import iaf
        >>> layer = iaf(3, num_layers=1, hidden_dims=(8,)).layers[0]
        >>> type(layer).__name__, layer.sequential_inverse
        ('InverseAutoregressive', True)
    """

    @property
    def _parallel_law(self) -> Law:
        return self.law

    @property
    def sequential_inverse(self) -> bool:
        """Scoring foreign data goes coordinate by coordinate."""
        return True

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._parallel(z, context)

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._sequential(x, context)

    def _forward_and_score(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if not isinstance(self.conditioner, MADE):
            return super()._forward_and_score(z, score, context)
        # One pass of the network is enough for the point and for its score.
        u = self._ordered(z)
        raw, pres = self.conditioner.with_pres(u, context)
        params = law_params(self.law, raw, self.free, self.input_dim)
        v, log_slope = self._parallel_law.forward(u, params)
        with torch.no_grad():
            solver = self._made_solver(self.conditioner, self._others(context), z.device)
            pushed = self._pulled(solver, u.detach(), solver.kept_of(raw, pres), score)
        return self._restored(v), log_slope.sum(-1), pushed

    def _push_score(self, z: Tensor, x: Tensor, score: Tensor, context: Tensor | None) -> Tensor:
        solver = self.solver(self._others(context), z.device)
        u = self._ordered(z)
        return self._pulled(solver, u, solver.kept_at(u.reshape(-1, self.input_dim)), score)

    def _pulled(self, solver: Solver, u: Tensor, kept: tuple[Tensor, ...], score: Tensor) -> Tensor:
        # J^T a = score - grad L: the reverse rule of the sequential map for g_u = score, g_l = 1.
        rows = u.reshape(-1, self.input_dim)
        ones = torch.ones_like(rows[:, 0])
        a, _ = solver.pull(rows, kept, self._ordered(score).reshape(rows.shape), ones)
        return self._restored(a.reshape(u.shape))

"""Masked autoregressive layers, in both orientations."""

from abc import abstractmethod
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from flowkit_core import checks
from flowkit_core.masks import invert_order
from flowkit_core.specs import INVERSES, AutoregressiveSpec
from numpyro_flowkit.conditioners import MADE
from numpyro_flowkit.conditioners.foreign import as_conditioner
from numpyro_flowkit.laws import Inverted, Law
from numpyro_flowkit.transforms.base import Flow
from numpyro_flowkit.transforms.implicit import map_and_pull, pull_sequential, sequential_map
from numpyro_flowkit.transforms.indexing import take
from numpyro_flowkit.transforms.law_params import ConditionerLike, free_parameters
from numpyro_flowkit.transforms.network_solver import parallel_map
from numpyro_flowkit.transforms.solver import choose_inverse, fixed_point


class Autoregressive(Flow):
    """What both orientations share: the parameters of a coordinate depend on those before it.

    The layer has one **parallel** map, one network pass that gives all coordinates at once, and
    one **sequential** map, its inverse, which finds them one after the other.

    Args:
        conditioner: a MADE, or any pytree that maps (..., D) (and a context) to
            (..., num_conditioned * D), where the parameters of a position depend on the positions
            before it; parameter by parameter. It works in autoregressive order.
        law: the map of one coordinate.
        order: coordinate ``order[j]`` is the j-th in the order.
        context_dim: length of the context the conditioner takes.
        free: the law's free parameters (num_free, D), in autoregressive order; zeros by default.
        inverse: how the sequential map is found: "sweep" (a MADE only), "fixed_point", or "auto",
            whichever is expected to be faster; see `solver.choose_inverse`.
        spec: the architecture as data; leave it out for a conditioner or law of your own.

    Raises:
        ValueError, TypeError: if ``order`` is no permutation, ``free`` has another shape,
            ``inverse`` is unknown or a sweep over another network than a MADE, or the conditioner
            cannot be called or is a plain function.
    """

    leaf_names = ("conditioner", "free")
    static_names = ("law", "order", "inverse", "spec", "context_dim")

    conditioner: ConditionerLike
    law: Law
    order: tuple[int, ...]
    free: Array | None
    inverse: str

    def __init__(
        self,
        conditioner: ConditionerLike,
        law: Law,
        order: Sequence[int],
        *,
        context_dim: int = 0,
        free: Array | None = None,
        inverse: str = "auto",
        spec: AutoregressiveSpec | None = None,
    ) -> None:
        self.conditioner = as_conditioner(conditioner)
        self.law = checks.instance("law", law, Law)
        self.order = checks.permutation("order", order)
        self.free = free_parameters(law, len(self.order), free)
        self.inverse = checks.choice("inverse", inverse, INVERSES)
        if inverse == "sweep" and not isinstance(self.conditioner, MADE):
            raise ValueError(
                'inverse: "sweep" needs a MADE, whose structure is known; got a '
                f'{type(conditioner).__name__}, for which "fixed_point" (or "auto") works'
            )
        self.spec = spec
        self.context_dim = checks.int_at_least("context_dim", context_dim, 0)

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Number of coordinates D."""
        return len(self.order)

    @property
    @abstractmethod
    def _parallel_law(self) -> Law:
        """The law whose forward map the parallel direction applies."""

    def _ordered(self, values: Array) -> Array:
        return take(values, self.order)

    def _restored(self, values: Array) -> Array:
        return take(values, invert_order(self.order))

    def _parallel(self, u: Array, context: Array | None) -> tuple[Array, Array]:
        """The parallel map and its log-determinant, in the user's order."""
        v, log_slope = parallel_map(
            self.conditioner, self._parallel_law, self.free, self._ordered(u), context
        )
        return self._restored(v), log_slope.sum(-1)

    def _sequential(self, v: Array, context: Array | None) -> tuple[Array, Array]:
        """The sequential map and its log-determinant, in the user's order."""
        u, log_det = sequential_map(
            self.conditioner,
            self._parallel_law,
            self.free,
            self._ordered(v),
            context,
            method=self.method,
        )
        return self._restored(u), log_det

    @property
    def method(self) -> str:
        """How the sequential map is found on JAX's default device: "sweep" or "fixed_point"."""
        return choose_inverse(
            self.inverse,
            self.conditioner,
            input_dim=self.input_dim,
            platform=jax.default_backend(),
        )

    def iterations(self, v: Array, context: Array | None = None) -> int | None:
        """Passes that a fixed point takes for v, (..., D); None if the map is swept."""
        if self.method == "sweep":
            return None
        law, ordered = self._parallel_law, self._ordered(v)
        found = fixed_point(self.conditioner, law, self.free, ordered, context)
        return int(found.iterations)


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
        section 3.1.

    Example:
        >>> from flowkit_core.specs import MADESpec
        >>> from numpyro_flowkit.conditioners import MADE
        >>> from numpyro_flowkit.laws import Affine
        >>> net = MADE.init(
        ...     jax.random.key(0),
        ...     MADESpec(
        ...         hidden_dims=(8,),
        ...         activation="relu",
        ...         context_dim=0,
        ...         input_dim=3,
        ...         num_params=2,
        ...         residual=False,
        ...     ),
        ... )
        >>> flow = MaskedAutoregressive(net, Affine(), order=(2, 1, 0))
        >>> x, log_det = flow.forward_and_log_det(jnp.ones((4, 3)))
        >>> x.shape, log_det.shape
        ((4, 3), (4,))
    """

    @property
    def _parallel_law(self) -> Law:
        return Inverted(self.law)

    @property
    def sequential_forward(self) -> bool:
        """Sampling goes coordinate by coordinate."""
        return True

    def _forward_and_log_det(self, z: Array, context: Array | None) -> tuple[Array, Array]:
        return self._sequential(z, context)

    def _inverse_and_log_det(self, x: Array, context: Array | None) -> tuple[Array, Array]:
        return self._parallel(x, context)

    def _push_score(self, z: Array, x: Array, score: Array, context: Array | None) -> Array:
        # log q(x) = log q(z(x)) + L(x) with z and L the parallel direction: one pullback.
        (_, log_det), pull = jax.vjp(lambda x: self._parallel(x, context), x)
        (score_x,) = pull((score, jnp.ones_like(log_det)))
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
        section 3.

    Example:
        >>> from flowkit_core.specs import MADESpec
        >>> from numpyro_flowkit.conditioners import MADE
        >>> from numpyro_flowkit.laws import Affine
        >>> net = MADE.init(
        ...     jax.random.key(0),
        ...     MADESpec(
        ...         hidden_dims=(8,),
        ...         activation="relu",
        ...         context_dim=0,
        ...         input_dim=3,
        ...         num_params=2,
        ...         residual=False,
        ...     ),
        ... )
        >>> InverseAutoregressive(net, Affine(), order=(0, 1, 2)).sequential_inverse
        True
    """

    @property
    def _parallel_law(self) -> Law:
        return self.law

    @property
    def sequential_inverse(self) -> bool:
        """Scoring foreign data goes coordinate by coordinate."""
        return True

    def _forward_and_log_det(self, z: Array, context: Array | None) -> tuple[Array, Array]:
        return self._parallel(z, context)

    def _inverse_and_log_det(self, x: Array, context: Array | None) -> tuple[Array, Array]:
        return self._sequential(x, context)

    def _forward_and_score(
        self, z: Array, score: Array, context: Array | None
    ) -> tuple[Array, Array, Array]:
        net, law, free = self.conditioner, self._parallel_law, self.free
        if not isinstance(net, MADE):
            return super()._forward_and_score(z, score, context)
        # One pass of the network is enough for the point and for its score.
        u, score = self._ordered(z), self._ordered(score)
        v, log_det, score_x = map_and_pull(net, law, free, u, context, score)
        return self._restored(v), log_det, self._restored(score_x)

    def _push_score(self, z: Array, x: Array, score: Array, context: Array | None) -> Array:
        # J^T a = score - grad L, by the sweep backwards.
        net, law, free = self.conditioner, self._parallel_law, self.free
        score_x = pull_sequential(net, law, free, self._ordered(z), context, self._ordered(score))
        return self._restored(score_x)

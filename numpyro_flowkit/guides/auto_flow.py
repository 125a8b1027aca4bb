"""AutoFlow: a guide over all latents whose distribution is a flow."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.infer.autoguide import AutoContinuous
from numpyro.infer.initialization import init_to_median

from flowkit_core import checks
from numpyro_flowkit.bases.choice import BaseChoice, checked_choice, make_base
from numpyro_flowkit.build import FlowInit
from numpyro_flowkit.distributions import FlowDistribution, StandardNormal
from numpyro_flowkit.guides.layers import affine_layer, started_flow
from numpyro_flowkit.transforms import Compose, Flow

# Draws behind median() and quantiles(): Monte Carlo error about 1 % of a posterior sd.
_QUANTILE_DRAWS = 10_000


class AutoFlow(AutoContinuous):
    """Guide ``q(theta)`` = a flow over all latents of a model, in unconstrained coordinates.

    ``theta = m + S (loc + L flow(z))`` with z from a base, by default Student-t with learnt degrees
    of freedom, nearly Normal at first: tails that are a little too heavy keep importance weights
    bounded, which the Normal's do not. L is lower triangular (diagonal above 128 latents) and
    starts as ``init_scale`` times the identity, ``loc`` starts at ``init_loc_fn``, both trainable,
    and the flow starts as the identity, so the guide starts as the base moved there. The frame (m,
    S) is fixed: the identity, until `warm_start` sets it to where the posterior is. It is a NumPyro
    `AutoContinuous` guide and works wherever one does (`NeuTraReparam`, `AutoGuideList`, every
    ELBO).

    The whole flow is one parameter, ``"{prefix}_flow$params"``: ``params[...]`` is the flow itself.
    A learnt base is one more, ``"{prefix}_base$params"``.
    A guide that was only just made (in another process, say) learns the model's structure when it
    is called once: ``with handlers.seed(rng_seed=0): guide(*args)``; saved parameters then work.

    Cost: one step evaluates the flow once; drawing and scoring share it.

    Args:
        model: a NumPyro model whose latents are continuous.
        flow: callable from the number of latents D to a recipe's result, e.g.
            ``functools.partial(realnvp, num_layers=10)``.
        prefix: prefix of the guide's sites.
        init_loc_fn: NumPyro's strategy for the starting point of each latent.
        init_scale: scale that the guide starts with, in unconstrained coordinates.
        path_gradient: use path gradients (see `FlowDistribution`). They pay near the posterior;
            far from it, and for bounds of several weighted particles (`RenyiELBO`), switch them
            off. ``guide.path_gradient`` may be set between steps; what is compiled by then, as
            ``jax.jit(svi.update)``, has to be compiled again to notice.
        base: what z is drawn from: "student_t", with learnt tails; "normal"; "mixture", with
            several modes (4 diagonal Normals, learnt); or a callable from D to a base, e.g.
            ``functools.partial(mixture_base, num_components=5)``. See `student_t_base` and
            `mixture_base`.

    Raises:
        ValueError: when first called, if the model subsamples a plate that holds latents, the flow
            has another dimension or takes a context, or the base has another dimension.
        RuntimeError: if parts are asked for before the first call, or there is no latent.

    References:
        Rezende, Mohamed, "Variational Inference with Normalizing Flows", 2015; Agrawal, Sheldon,
        Domke, "Advances in Black-Box VI", 2020 (flow guides with a location-scale start).

    Example:
        >>> import functools
        >>> from numpyro import handlers
        >>> from numpyro_flowkit import realnvp
        >>> def model():
        ...     x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(x, jnp.exp(x)))
        >>> guide = AutoFlow(model, functools.partial(realnvp, num_layers=2))
        >>> with handlers.seed(rng_seed=0):
        ...     sorted(guide())
        ['x', 'y']
    """

    def __init__(
        self,
        model: Callable[..., Any],
        flow: Callable[[int], Callable[[Array], Flow]],
        *,
        prefix: str = "auto",
        init_loc_fn: Callable[..., Any] = init_to_median,
        init_scale: float = 0.1,
        path_gradient: bool = True,
        base: BaseChoice = "student_t",
    ) -> None:
        self.path_gradient = checks.boolean("path_gradient", path_gradient)
        self._base_choice = checked_choice(base)
        self.init_scale = checks.positive_float("init_scale", init_scale)
        if not callable(flow) or isinstance(flow, Flow | FlowInit):
            raise TypeError(
                "flow: expected a callable from the number of latents to a flow, e.g. "
                f"functools.partial(realnvp, num_layers=10), got {type(flow).__name__}"
            )
        super().__init__(model, prefix=prefix, init_loc_fn=init_loc_fn)
        self._make_flow = flow

    @property
    def _param_name(self) -> str:
        return f"{self.prefix}_flow$params"

    @property
    def _base_name(self) -> str:
        return f"{self.prefix}_base$params"

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        try:
            super()._setup_prototype(*args, **kwargs)
        except BaseException:
            self.prototype_trace = None  # so that the next call reports the error again
            raise

    def _initial_flow(self, rng_key: Array) -> Compose:
        loc = self._init_latent
        flow = started_flow(self._make_flow(self.latent_dim), rng_key, loc)
        log_scale = jnp.full_like(loc, math.log(self.init_scale))
        affine = affine_layer(loc, log_scale, frozen=False)
        frame = affine_layer(jnp.zeros_like(loc), jnp.zeros_like(loc), frozen=True)
        return Compose((flow, affine, frame))

    @property
    def _base_is_learnt(self) -> bool:
        return self._base_choice != "normal"

    def _initial_base(self, rng_key: Array) -> Any:
        return make_base(self._base_choice, self.latent_dim, self._init_latent, rng_key)

    def _get_posterior(self) -> FlowDistribution:
        self._check_prototype()
        flow = numpyro.param(self._param_name, self._initial_flow)
        base = None
        if self._base_is_learnt:
            base = numpyro.param(self._base_name, self._initial_base)
        return self._posterior(flow, base)

    def _posterior(
        self, flow: Flow, base: Callable[[], dist.Distribution] | None
    ) -> FlowDistribution:
        z = self.get_base_dist() if base is None else base()
        return FlowDistribution(flow, z, path_gradient=self.path_gradient)

    def _check_prototype(self) -> None:
        if self.prototype_trace is None:
            raise RuntimeError(
                f"{type(self).__name__} has not seen the model yet: call it once with the model's "
                "arguments first, `with numpyro.handlers.seed(rng_seed=0): guide(*args)`"
            )

    def get_base_dist(self) -> dist.Distribution:
        """Distribution of z: the standard Normal, or a learnt base as it starts.

        A learnt base is among the parameters, which this method of `AutoContinuous` does not get:
        as it is now, it is ``get_posterior(params).base_dist``. `NeuTraReparam` only needs to know
        where z lives and draws a first point from here; its target is the model's posterior seen
        through `get_transform`, whatever the base.
        """
        self._check_prototype()
        if self._base_is_learnt:
            start: dist.Distribution = self._initial_base(jax.random.key(0))()
            return start
        zeros = jnp.zeros_like(self._init_latent)
        return StandardNormal(zeros, jnp.ones_like(zeros)).to_event(1)

    def get_base(self, params: dict[str, Any]) -> Any:
        """The learnt base, for `save_flow`; None for the standard Normal."""
        self._check_prototype()
        return params[self._base_name] if self._base_is_learnt else None

    def get_transform(self, params: dict[str, Any]) -> Flow:
        """The flow with its location and scale, base to unconstrained latents."""
        self._check_prototype()
        flow: Flow = params[self._param_name]
        return flow

    def get_posterior(self, params: dict[str, Any]) -> FlowDistribution:
        """Distribution of the packed, unconstrained latents."""
        return self._posterior(self.get_transform(params), self.get_base(params))

    def median(self, params: dict[str, Any]) -> dict[str, Array]:
        """Posterior median of each latent, from draws of the guide with a fixed key."""
        return {name: values[0] for name, values in self.quantiles(params, [0.5]).items()}

    def quantiles(
        self, params: dict[str, Any], quantiles: Sequence[float] | Array
    ) -> dict[str, Array]:
        """Marginal posterior quantiles of each latent, from draws with a fixed key.

        Taken coordinate by coordinate in unconstrained space, so that they lie in the support.

        Args:
            params: the guide's parameters.
            quantiles: probabilities between 0 and 1.

        Returns:
            For each latent site an array (len(quantiles), *shape of the site).
        """
        posterior = self.get_posterior(params)
        latents = posterior.sample(jax.random.key(0), (_QUANTILE_DRAWS,))
        levels = jnp.reshape(jnp.asarray(quantiles, latents.dtype), -1)
        return self._unpack_and_constrain(jnp.quantile(latents, levels, axis=0), params)

"""Importance-weighted bounds of flow guides, with gradients along the paths of the draws."""

import copy
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array, lax
from jax.scipy.special import logsumexp
from numpyro import handlers
from numpyro.infer.elbo import ELBO
from numpyro.infer.util import compute_log_probs
from numpyro.primitives import Messenger
from numpyro.util import check_model_guide_match

from flowkit_core import checks
from numpyro_flowkit.distributions import FlowDistribution
from numpyro_flowkit.wrapped import unwrapped


class ImportanceWeightedELBO(ELBO):
    """Loss ``-log (1/K) sum_k w_k`` of K draws, ``w_k = p(x_k, data) / q(x_k)``, for flow guides.

    Its gradient by the guide's parameters is the doubly reparametrised one (DReG),
    ``-sum_k v_k^2 (d log w_k / dx_k) (dx_k / d parameters)`` with ``v_k = w_k / sum_j w_j``, whose
    signal-to-noise ratio does not fall as K grows, as that of `RenyiELBO` does. The gradient by
    the model's parameters is ``-sum_k v_k d log p(x_k, data)``. Both are unbiased. (Path gradients
    weighted by v_k instead of v_k^2, as a `FlowDistribution` with ``path_gradient=True`` would
    give in `RenyiELBO`, are biased for K > 1.) With K = 1 it is the path gradient of the ELBO.

    The guide has one site that is drawn from a `FlowDistribution`, as every `AutoFlow` does;
    whether that has ``path_gradient`` set does not matter. Further sites are point masses (Delta).

    Shapes: the loss is a scalar, in nats. The weights are those of whole draws, all latents
    together. It has first derivatives, in reverse mode.

    Cost: K evaluations of model and guide, no more than K particles of NumPyro's own ELBOs.

    Args:
        num_particles: number K of draws.
        vectorize_particles: map over the draws with ``jax.vmap`` rather than with ``jax.lax.map``;
            or what to map with.

    Raises:
        ValueError: when used, if the guide has no site, or several, that a flow draws; if it draws
            another site at random; or if a site is scaled, as subsampled plates do: a weight
            cannot be estimated from part of the data without bias.

    References:
        Tucker, Lawson, Gu, Maddison, "Doubly Reparameterized Gradient Estimators for Monte Carlo
        Objectives", 2019, equation 8; Burda, Grosse, Salakhutdinov, "Importance Weighted
        Autoencoders", 2016, equation 8 (the bound).

    Example:
        >>> import numpyro, optax
        >>> from numpyro_flowkit import AutoRealNVP
        >>> def model():
        ...     x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(x, 1.0), obs=0.5)
        >>> elbo = ImportanceWeightedELBO(8)
        >>> svi = numpyro.infer.SVI(model, AutoRealNVP(model), optax.adam(1e-3), elbo)
        >>> bool(jnp.isfinite(svi.run(jax.random.key(0), 2, progress_bar=False).losses).all())
        True
    """

    def __init__(
        self, num_particles: int = 2, *, vectorize_particles: bool | Callable[..., Any] = True
    ) -> None:
        super().__init__(checks.positive_int("num_particles", num_particles), vectorize_particles)

    def loss(
        self,
        rng_key: Array,
        param_map: dict[str, Any],
        model: Callable[..., Any],
        guide: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> Array:
        """The loss in nats, with the gradients above.

        Args:
            rng_key: key of the draws.
            param_map: parameters of model and guide by name.
            model: a NumPyro model.
            guide: its guide.
            args: of model and guide.
            kwargs: the same.
        """

        def particle(inputs: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
            key, zero = inputs
            model_key, guide_key = jax.random.split(key)
            with _DoublyReparametrized(zero) as draws:
                of_guide, guide_trace = compute_log_probs(
                    handlers.seed(guide, guide_key), args, kwargs, param_map
                )
            tags = draws.tags_of(guide_trace)
            replayed = handlers.replay(handlers.seed(model, model_key), guide_trace)
            of_model, model_trace = compute_log_probs(replayed, args, kwargs, param_map)
            check_model_guide_match(model_trace, guide_trace)
            _check_scales(guide_trace)
            _check_scales(model_trace)
            log_weight = sum(of_model.values(), start=jnp.array(0.0)) - sum(of_guide.values())
            return log_weight, tags

        # One key as it is: the draw that Trace_ELBO takes.
        count = self.num_particles
        keys = rng_key[None] if count == 1 else jax.random.split(rng_key, count)
        inputs = keys, jnp.zeros(count)
        log_weights, (weighted, plain) = self.vectorize_particles_fn(particle, inputs)
        value = logsumexp(log_weights) - jnp.log(self.num_particles)
        normalized = lax.stop_gradient(jax.nn.softmax(log_weights))
        # A draw of no weight may have the log-weight -inf, and -inf times zero is no number.
        counted = jnp.where(normalized > 0, log_weights, 0.0)
        # The tags are zeros that tell each draw, on the way back, what v_k is.
        surrogate = (normalized * (counted + weighted) + plain).sum()
        return -(lax.stop_gradient(value) + surrogate - lax.stop_gradient(surrogate))


class _DoublyReparametrized(Messenger):
    """Makes flows draw with path gradients, and what comes back through their draws weighted."""

    def __init__(self, zero: Array) -> None:
        super().__init__()
        self._zero = zero
        self._tags: dict[str, tuple[Array, Array]] = {}

    def __enter__(self) -> "_DoublyReparametrized":
        super().__enter__()
        return self

    def process_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] == "sample" and not msg["is_observed"] and msg["value"] is None:
            msg["fn"] = _with_path_gradient(msg["fn"])

    def postprocess_message(self, msg: dict[str, Any]) -> None:
        # Installed outside of the trace, so that the trace records the value that is set here.
        if msg["type"] == "sample" and msg["intermediates"] and _flow_of(msg["fn"]) is not None:
            msg["value"], *tags = _weighted_on_the_way_back(msg["value"], self._zero)
            self._tags[msg["name"]] = (tags[0], tags[1])

    def tags_of(self, guide_trace: dict[str, Any]) -> tuple[Array, Array]:
        """The tags of the one draw, or an error for a guide whose gradients would be wrong."""
        for name, site in guide_trace.items():
            if site["type"] != "sample" or site["is_observed"] or name in self._tags:
                continue
            inner = unwrapped(site["fn"])
            if not isinstance(inner, dist.Delta):
                raise ValueError(
                    f"ImportanceWeightedELBO: site {name!r} of the guide, a "
                    f"{type(inner).__name__}, gives no path gradients; the one random site of the "
                    "guide has to be drawn by a FlowDistribution, as AutoFlow's is"
                )
        if len(self._tags) != 1:
            raise ValueError(
                "ImportanceWeightedELBO: expected a guide with one site that is drawn by a "
                f"FlowDistribution, got {len(self._tags)}; AutoFlow draws all latents at one"
            )
        (tags,) = self._tags.values()
        return tags


@jax.custom_vjp
def _weighted_on_the_way_back(x: Array, zero: Array) -> tuple[Array, Array, Array]:
    """Return x and two zeros; the gradient of x is multiplied by the ratio of theirs.

    The ratio, so that the whole stays linear in the gradient of the loss. The zero is an argument
    so that under ``vmap`` each draw has its own, whose gradients are not added up.
    """
    return x, zero, zero


def _keep_nothing(x: Array, zero: Array) -> tuple[tuple[Array, Array, Array], None]:
    return (x, zero, zero), None


def _multiply(_: None, gradients: tuple[Array, Array, Array]) -> tuple[Array, None]:
    of_x, weighted, plain = gradients
    ratio = jnp.where(plain == 0, 0.0, weighted / jnp.where(plain == 0, 1.0, plain))
    return of_x * ratio.astype(of_x.dtype), None


_weighted_on_the_way_back.defvjp(_keep_nothing, _multiply)


def _flow_of(density: Any) -> FlowDistribution | None:
    inner = unwrapped(density)
    return inner if isinstance(inner, FlowDistribution) else None


def _with_path_gradient(density: Any) -> Any:
    """A copy of a flow's distribution, as wrapped as it was; others as they are."""
    if _flow_of(density) is None:
        return density
    density = copy.copy(density)
    if isinstance(density, FlowDistribution):
        density.path_gradient = True
    else:
        density.base_dist = _with_path_gradient(density.base_dist)
    return density


def _check_scales(trace: dict[str, Any]) -> None:
    for name, site in trace.items():
        if site["type"] == "sample" and site["scale"] is not None:
            raise ValueError(
                f"ImportanceWeightedELBO: site {name!r} is scaled, by a subsampled plate or by "
                "handlers.scale; weights of draws need the density itself, of all the data"
            )

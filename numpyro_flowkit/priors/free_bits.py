"""An ELBO in which latents may hold some information for nothing."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers
from numpyro.distributions import ExpandedDistribution, MaskedDistribution
from numpyro.infer.elbo import ELBO
from numpyro.infer.util import compute_log_probs
from numpyro.util import check_model_guide_match

from flowkit_core import checks
from flowkit_core.free_bits import FreeBits, check_coordinates, check_drawn_here
from numpyro_flowkit.wrapped import unwrapped


class FreeBitsELBO(ELBO):
    """Loss ``-ELBO`` in which the KL of latents costs nothing up to some nats: free bits.

    ``-E log p(x | z) + sum_g max(minimum, KL_g)``, where KL_g is the KL of the latents in group g,
    as ``log q(z | x) - log p(z)`` at the draws, averaged over data points and particles. Below the
    minimum a group's KL has no gradient, lest latents be given up before the decoder has learnt to
    use them::

        svi = SVI(model, guide, optimizer, FreeBitsELBO(0.1, per="dim"))

    All that a site's plates hold is averaged over, as a minibatch is, and sums over data points
    stay sums: with C data points at a site, counted with their scales and masks, the term is
    ``max(minimum C, KL of all of them)``. So `kl_weight` multiplies it, and a subsample stands for
    all data.

    Shapes: the loss is a scalar, in nats.

    Cost: that of `Trace_ELBO`.

    Args:
        minimum: nats per data point that a group has for nothing.
        latents: names of the sites that it is for; all latents by default. Others have their KL.
        per: what a group is: "site", or "dim", each coordinate of a site, whose distributions have
            independent coordinates then (``to_event``).
        num_particles: number of draws.
        vectorize_particles: map over the draws with ``jax.vmap`` rather than with ``jax.lax.map``;
            or what to map with.

    Raises:
        TypeError: for arguments of another type; when used, for a site that the guide draws
            elsewhere (a Delta), and for coordinates that are not independent.
        ValueError: for a number or a choice out of range; when used, for a name that is no latent.
        NotImplementedError: when used, for a guide that is not reparametrised.

    References:
        Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling, "Improving Variational Inference
        with Inverse Autoregressive Flow", 2016, equation 15.

    Example:
        >>> import numpyro
        >>> from numpyro.infer import Trace_ELBO
        >>> def model(x):
        ...     with numpyro.plate("data", len(x)):
        ...         z = numpyro.sample("z", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
        ...         numpyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)
        >>> def prior_as_guide(x):
        ...     with numpyro.plate("data", len(x)):
        ...         numpyro.sample("z", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
        >>> x, key = jnp.ones((10, 2)), jax.random.key(0)
        >>> elbos = Trace_ELBO(), FreeBitsELBO(0.5, per="dim")
        >>> losses = [elbo.loss(key, {}, model, prior_as_guide, x) for elbo in elbos]
        >>> round(float(losses[1] - losses[0]), 3)  # 10 data points, two coordinates, half a nat
        10.0
    """

    def __init__(
        self,
        minimum: float,
        *,
        latents: Sequence[str] | None = None,
        per: str = "site",
        num_particles: int = 1,
        vectorize_particles: bool | Callable[..., Any] = True,
    ) -> None:
        self.free_bits = FreeBits(minimum, latents, per)
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
        """The loss in nats.

        Args:
            rng_key: key of the draws.
            param_map: parameters of model and guide by name.
            model: a NumPyro model.
            guide: its guide.
            args: of model and guide.
            kwargs: the same.
        """

        def particle(key: Array) -> tuple[Array, dict[str, Array], dict[str, Array]]:
            model_key, guide_key = jax.random.split(key)
            guide_terms, guide_trace = compute_log_probs(
                handlers.seed(guide, guide_key), args, kwargs, param_map
            )
            replayed = handlers.replay(handlers.seed(model, model_key), guide_trace)
            model_terms, model_trace = compute_log_probs(replayed, args, kwargs, param_map)
            check_model_guide_match(model_trace, guide_trace)
            _check_reparametrized(guide_trace)
            latents = [name for name in model_terms if not model_trace[name]["is_observed"]]
            names = self.free_bits.sites(list(guide_terms), latents)
            rest = jnp.array(0.0)
            kls, counts = {}, {}
            for terms, sign in ((model_terms, 1), (guide_terms, -1)):
                rest = rest + sum(sign * terms[name] for name in terms if name not in names)
            for name in names:
                weights = _weights(guide_trace[name])
                counts[name] = weights.sum()
                check_drawn_here(name, isinstance(unwrapped(guide_trace[name]["fn"]), dist.Delta))
                if self.free_bits.per == "site":
                    kls[name] = (guide_terms[name] - model_terms[name])[None]
                    continue
                kl = _of_coordinates(name, "guide", guide_trace[name], weights)
                of_model = model_trace[name]
                kls[name] = kl - _of_coordinates(name, "model", of_model, _weights(of_model))
            return rest, kls, counts

        # One key as it is: the draw that Trace_ELBO takes.
        count = self.num_particles
        keys = rng_key[None] if count == 1 else jax.random.split(rng_key, count)
        rest, kls, counts = self.vectorize_particles_fn(particle, keys)
        minimum = self.free_bits.minimum
        bounded = [jnp.maximum(minimum * counts[n].mean(), kls[n].mean(0)).sum() for n in kls]
        return sum(bounded, start=jnp.array(0.0)) - rest.mean()


def _check_reparametrized(guide_trace: dict[str, Any]) -> None:
    for name, site in guide_trace.items():
        is_drawn = site["type"] == "sample" and not site["is_observed"]
        if is_drawn and not site["fn"].has_rsample:
            raise NotImplementedError(
                f"guide: expected reparametrised draws, got {type(site['fn']).__name__} at {name!r}"
            )


def _weights(site: dict[str, Any]) -> Array:
    """How often each element of a site's batch counts: its scale, or zero where it is masked."""
    inner = site["fn"]
    shape = jnp.shape(site["value"])[: jnp.ndim(site["value"]) - len(inner.event_shape)]
    dtype = jnp.result_type(float, site["value"])
    weights = jnp.ones(jnp.broadcast_shapes(shape, inner.batch_shape), dtype)
    while isinstance(inner, ExpandedDistribution | MaskedDistribution):
        if isinstance(inner, MaskedDistribution):
            weights = jnp.where(inner._mask, weights, 0.0)
        inner = inner.base_dist
    return weights if site["scale"] is None else weights * site["scale"]


def _of_coordinates(name: str, owner: str, site: dict[str, Any], weights: Array) -> Array:
    """Log-density of each coordinate, (G,), summed over the batch with these weights."""
    inner = unwrapped(site["fn"])
    check_coordinates(name, owner, type(inner).__name__, inner.event_shape)
    shape = (*weights.shape, *site["fn"].event_shape)
    log_prob = jnp.broadcast_to(inner.log_prob(site["value"]), shape).reshape(*weights.shape, -1)
    terms = jnp.where(weights[..., None] == 0, 0.0, weights[..., None] * log_prob)
    return terms.reshape(-1, terms.shape[-1]).sum(0)

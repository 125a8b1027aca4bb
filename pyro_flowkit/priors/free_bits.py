"""An ELBO in which latents may hold some information for nothing."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from pyro.distributions import Delta
from pyro.distributions.torch_distribution import MaskedDistribution
from pyro.distributions.util import scale_and_mask
from pyro.infer import Trace_ELBO
from pyro.poutine.trace_struct import Trace
from pyro.util import warn_if_nan
from torch import Tensor

from flowkit_core.free_bits import FreeBits, check_coordinates, check_drawn_here
from pyro_flowkit.differentiable_elbo import DifferentiableELBO
from pyro_flowkit.wrapped import unwrapped


class FreeBitsELBO(DifferentiableELBO, Trace_ELBO):
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

    Cost: that of `Trace_ELBO`; the graphs of all particles are held at once.

    Args:
        minimum: nats per data point that a group has for nothing.
        latents: names of the sites that it is for; all latents by default. Others have their KL.
        per: what a group is: "site", or "dim", each coordinate of a site, whose distributions have
            independent coordinates then (``to_event``).
        num_particles: number of draws.
        vectorize_particles: draw all at once, in a plate to the left of all others.
        max_plate_nesting: of the model, for vectorised particles; guessed if infinite.

    Raises:
        TypeError: for arguments of another type; when used, for a site that the guide draws
            elsewhere (a Delta), and for coordinates that are not independent.
        ValueError: for a number or a choice out of range; when used, for a name that is no latent.
        NotImplementedError: when used, for a guide that is not reparametrised.

    References:
        Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling, "Improving Variational Inference
        with Inverse Autoregressive Flow", 2016, equation 15.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        ...         pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)
        >>> def prior_as_guide(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        >>> x = torch.randn(10, 2)
        >>> losses = []
        >>> for elbo in (Trace_ELBO(), FreeBitsELBO(0.5, per="dim")):
        ...     pyro.set_rng_seed(0)
        ...     losses.append(elbo.loss(model, prior_as_guide, x))
        >>> round(losses[1] - losses[0], 3)  # 10 data points, two coordinates, half a nat
        10.0
    """

    def __init__(
        self,
        minimum: float,
        *,
        latents: Sequence[str] | None = None,
        per: str = "site",
        num_particles: int = 1,
        vectorize_particles: bool = False,
        max_plate_nesting: float = math.inf,
    ) -> None:
        self.free_bits = FreeBits(minimum, latents, per)
        super().__init__(
            num_particles,
            vectorize_particles=vectorize_particles,
            max_plate_nesting=max_plate_nesting,
        )

    @torch.no_grad()
    def loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> float:
        """The loss in nats, from fresh draws."""
        return float(self.differentiable_loss(model, guide, *args, **kwargs))

    def differentiable_loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """The loss in nats as a tensor."""
        rest: Any = 0.0
        kls: dict[str, Any] = {}
        counts: dict[str, Any] = {}
        for model_trace, guide_trace in self._get_traces(model, guide, args, kwargs):
            of_guide, of_model = _samples(guide_trace), _samples(model_trace)
            drawn = [name for name, site in of_guide.items() if not site["is_observed"]]
            latents = [name for name, site in of_model.items() if not site["is_observed"]]
            _check_reparametrized({name: of_guide[name]["fn"] for name in drawn})
            names = self.free_bits.sites(drawn, latents)
            for sites, sign in ((of_model, 1), (of_guide, -1)):
                for name, site in sites.items():
                    rest = rest if name in names else rest + sign * site["log_prob_sum"]
            for name in names:
                kl, count = self._kl(name, of_guide[name], of_model[name])
                kls[name] = kls.get(name, 0.0) + kl
                counts[name] = counts.get(name, 0.0) + count
        bounded = [torch.maximum(self.free_bits.minimum * counts[n], kls[n]).sum() for n in kls]
        loss: Tensor = (sum(bounded) - rest) / self.num_particles
        warn_if_nan(loss, "loss")
        return loss

    def _kl(
        self, name: str, of_guide: dict[str, Any], of_model: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """KL of each group (G,), of all data points together, and how many those are."""
        weights = _weights(of_guide)
        check_drawn_here(name, isinstance(unwrapped(of_guide["fn"]), Delta))
        if self.free_bits.per == "site":
            kl = (of_guide["log_prob_sum"] - of_model["log_prob_sum"]).reshape(1)
        else:
            kl = _of_coordinates(name, "guide", of_guide, weights)
            kl = kl - _of_coordinates(name, "model", of_model, _weights(of_model))
        return kl, weights.sum().expand(kl.shape)


def _samples(trace: Trace) -> dict[str, Any]:
    return {name: site for name, site in trace.nodes.items() if site["type"] == "sample"}


def _check_reparametrized(drawn: dict[str, Any]) -> None:
    for name, density in drawn.items():
        if not density.has_rsample:
            raise NotImplementedError(
                f"guide: expected reparametrised draws, got {type(density).__name__} at {name!r}"
            )


def _weights(site: dict[str, Any]) -> Tensor:
    """How often each element of a site's batch counts: its scale, or zero where it is masked."""
    shape = site["log_prob"].shape
    weights: Tensor = scale_and_mask(site["value"].new_ones(shape), site["scale"], site["mask"])
    inner = site["fn"]
    while isinstance(inner, MaskedDistribution):
        weights = scale_and_mask(weights, 1.0, inner._mask)
        inner = inner.base_dist
    return weights.expand(shape)


def _of_coordinates(name: str, owner: str, site: dict[str, Any], weights: Tensor) -> Tensor:
    """Log-density of each coordinate, (G,), summed over the batch with these weights."""
    inner = unwrapped(site["fn"])
    check_coordinates(name, owner, type(inner).__name__, inner.event_shape)
    log_prob = inner.log_prob(site["value"])
    log_prob = log_prob.expand(*weights.shape, *site["fn"].event_shape)
    log_prob = log_prob.reshape(*weights.shape, -1)
    terms = torch.where(weights[..., None] == 0, 0.0, weights[..., None] * log_prob)
    return terms.reshape(-1, log_prob.shape[-1]).sum(0)

"""Surgery of a model and its guide, read off their sites."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import Distribution

from flowkit_core import checks
from flowkit_core.surgery import (
    MEMORY_LIMIT,
    ElboSurgery,
    SurgerySettings,
    batches_of,
    check_latents,
    check_plate,
    check_posterior_shapes,
    data_axis,
)
from pyro_flowkit.process_group import Group
from pyro_flowkit.surgery.draws import surgery_of_draws
from pyro_flowkit.surgery.posterior import Posterior
from pyro_flowkit.surgery.shards import own_stream

if TYPE_CHECKING:  # there are builds of torch without it
    from torch.distributed import ProcessGroup


@torch.no_grad()
def elbo_surgery_of(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: Any,
    *,
    latent: str = "z",
    batch_size: int = 512,
    num_samples: int = 1,
    method: str = "exact",
    num_others: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
    progress: bool = False,
    process_group: "ProcessGroup | None" = None,
    generator: torch.Generator | None = None,
) -> ElboSurgery:
    """Take the ELBO of a trained model and its guide apart: `elbo_surgery` read off their sites.

    ``q(z | x)`` is the guide's distribution at the latent site, ``p(z)`` the model's, and the
    likelihood that of all observed sites::

        found = elbo_surgery_of(vae.model, vae.guide, images)
        print(found)

    The latent is in one plate, over the data points, as its last batch dimension. Scales of
    subsampled plates are left out: every data point counts once.

    Cost: the guide once and the model ``num_samples`` times for each data point, and what
    `elbo_surgery` costs. The data may be an iterable of batches; only the posteriors' parameters
    and the draws of all data points are held at once.

    Args:
        model: called with each batch.
        guide: called with each batch.
        data: an array whose first axis is that of data points, a tuple of such arrays (several
            arguments), or an iterable of batches such as a DataLoader.
        latent: name of the site.
        batch_size: rows of a batch, where the data are arrays.
        num_samples: as for `elbo_surgery`.
        method: as for `elbo_surgery`.
        num_others: as for `elbo_surgery`.
        memory_limit: as for `elbo_surgery`.
        progress: as for `elbo_surgery`.
        process_group: as for `elbo_surgery`: each process passes its own data, which may be empty.
        generator: source of randomness; torch's own by default.

    Returns:
        `ElboSurgery`.

    Raises:
        TypeError: for data that cannot be taken apart.
        ValueError: if there is no such site, if there are other latents, if a site is not in the
            plate of the data points, and as `elbo_surgery`.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        ...         pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)
        >>> def guide(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("z", dist.Normal(x / 2, 0.5**0.5).to_event(1))
        >>> found = elbo_surgery_of(model, guide, torch.randn(100, 2))
        >>> found.num_data, found.dim
        (100, 2)
    """
    settings = SurgerySettings(num_samples, method, num_others, memory_limit, progress)
    size = checks.positive_int("batch_size", batch_size)
    group = Group(process_group)
    group.check_same("settings", (latent, num_samples, method, num_others))

    def own_sites() -> list[_Sites]:
        batches = batches_of(data, size, allow_none=group.size > 1)
        found = [read_sites(model, guide, batch, latent, num_samples) for batch in batches]
        if not found and group.size == 1:
            raise ValueError("data: expected at least one batch, got none")
        return found

    with own_stream(generator, group):
        found = group.together(own_sites)
        rows = Posterior([posterior for posterior, *_ in found], group)
        z = torch.cat([z for _, z, _, _ in found], 1) if found else rows.sample(num_samples)
        # A process without data points has no terms.
        none = z.sum(-1)
        prior = torch.cat([prior for *_, prior, _ in found], 1) if found else none
        likelihood = torch.cat([terms for *_, terms in found], 1) if found else none
        return surgery_of_draws(rows, z, prior, likelihood, settings)


_Sites = tuple[Distribution, Tensor, Tensor, Tensor]


def read_sites(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    batch: tuple[Any, ...],
    latent: str,
    num_samples: int,
) -> _Sites:
    """Posterior, draws (S, b, d), ``log p(z)`` and ``log p(x | z)`` (S, b) of a batch."""
    drawn = _sites(guide, batch)
    of_guide = [n for n, site in drawn.items() if not (site["is_observed"] or _is_auxiliary(site))]
    given: list[dict[str, Tensor]] = [{}]
    if latent in of_guide:
        check_plate(latent, _dims(drawn[latent]), "guide")
        posterior: Distribution = drawn[latent]["fn"]
        check_posterior_shapes(posterior.batch_shape, posterior.event_shape, f"guide: {latent!r}")
        z = posterior.sample(torch.Size((num_samples,)))
        given = [{latent: one} for one in z]
    rows = []
    for one in given:
        sites = _sites(poutine.condition(model, one), batch)
        of_model = [n for n, site in sites.items() if n == latent or not site["is_observed"]]
        observed = [n for n in sites if n not in of_model]
        check_latents(latent, of_guide, of_model, observed)
        dim = check_plate(latent, _dims(sites[latent]), "model")
        prior = sites[latent]["fn"].log_prob(one[latent]).expand(one[latent].shape[:-1])
        parts = [_of_rows(name, sites[name], latent, dim) for name in observed]
        rows.append((prior, torch.stack(parts).sum(0)))
    priors, likelihoods = zip(*rows, strict=True)
    return posterior, z, torch.stack(priors), torch.stack(likelihoods)


def _sites(function: Callable[..., Any], batch: tuple[Any, ...]) -> dict[str, Any]:
    trace = poutine.trace(function).get_trace(*batch)
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not site_is_subsample(site)
    }


def _of_rows(name: str, site: dict[str, Any], latent: str, plate_dim: int) -> Tensor:
    """Log-density (b,) of an observed site, one number for each data point, without scale."""
    axis = data_axis(name, latent, _dims(site), plate_dim)
    log_prob = scale_and_mask(site["fn"].log_prob(site["value"]), 1.0, site["mask"])
    others = [dim for dim in range(-log_prob.dim(), 0) if dim != axis]
    total: Tensor = log_prob.sum(others) if others else log_prob
    return total


def _dims(site: dict[str, Any]) -> list[int]:
    return [frame.dim for frame in site["cond_indep_stack"] if frame.vectorized]


def _is_auxiliary(site: dict[str, Any]) -> bool:
    return bool(site["infer"].get("is_auxiliary"))

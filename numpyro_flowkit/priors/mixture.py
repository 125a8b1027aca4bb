"""A learnt mixture of Normals as prior."""

import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints

from flowkit_core import checks
from flowkit_core.bases import MixtureBaseSpec
from numpyro_flowkit.bases.normal_mixture import NormalMixture
from numpyro_flowkit.priors.full_normal_mixture import FullNormalMixture
from numpyro_flowkit.priors.registration import checked_name, registered


def mixture_prior(
    name: str, dim: int, num_components: int, *, covariance: str = "diagonal", seed: int = 0
) -> dist.Distribution:
    """Prior of K Normals whose means, covariances and weights are learnt with the model's.

    ``p(z) = sum_k softmax(logits)_k N(z; locs_k, S_k)``, with ``S_k = diag(scales_k)^2`` or
    ``scale_trils_k scale_trils_k^T``. Call it inside a model. It registers the parameters
    ``name$locs``, ``name$logits`` and ``name$scales`` (positive) or ``name$scale_trils`` (lower
    triangular, with a positive diagonal), in JAX's default float.

    At the start each coordinate has mean 0 and variance 1, half of it between the components, which
    all differ; the numbers are the same in both wings and for both covariances.

    Shapes: event (D,), no batch; locs and scales (K, D), scale_trils (K, D, D), logits (K,).

    Cost: O(K D) per point scored if diagonal; O(K D^2), and O(K D^3) once, if full.

    Args:
        name: of the parameters; that of the latent will do.
        dim: number of coordinates D.
        num_components: K.
        covariance: "diagonal" or "full".
        seed: seed of the starting means.

    Returns:
        A distribution; draws of the diagonal kind are differentiable by every parameter.

    Raises:
        TypeError, ValueError: for arguments of another kind or out of range, or if another prior's
            parameters were put in under that name.

    References:
        Tomczak, Welling, "VAE with a VampPrior", 2018, section 2.2 (the mixture of Gaussians that
        the VampPrior is compared with).

    Example:
        >>> import numpyro
        >>> from numpyro import handlers
        >>> def model(n):
        ...     with numpyro.plate("data", n):
        ...         return numpyro.sample("z", mixture_prior("z", 3, 10))
        >>> with handlers.seed(rng_seed=0), handlers.trace() as sites:
        ...     model(5).shape, sorted(name for name in sites if "$" in name)
        ((5, 3), ['z$locs', 'z$logits', 'z$scales'])
    """
    name = checked_name(name)
    dim = checks.positive_int("dim", dim)
    start = MixtureBaseSpec(dim, num_components, seed).arrays()
    kind = checks.choice("covariance", covariance, ("diagonal", "full"))
    dtype = jnp.zeros(()).dtype
    locs = registered(f"{name}$locs", jnp.asarray(start["locs"], dtype))
    logits = registered(f"{name}$logits", jnp.asarray(start["logits"], dtype))
    widths = jnp.exp(jnp.asarray(start["log_scales"], dtype))
    if kind == "diagonal":
        scales = registered(f"{name}$scales", widths, constraints.positive)
        return NormalMixture(locs, scales, logits)
    diagonal = widths[..., None] * jnp.eye(dim, dtype=dtype)
    factors = registered(f"{name}$scale_trils", diagonal, constraints.lower_cholesky)
    return FullNormalMixture(locs, factors, logits)

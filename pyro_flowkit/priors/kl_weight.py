"""A weight on the KL of an ELBO, for warm-up and for beta-VAEs."""

from collections.abc import Callable, Sequence
from typing import Any

from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample

from flowkit_core.warmup import check_latent_names


class _KLWeight(Messenger):
    def __init__(self, weight: Any, latents: frozenset[str] | None) -> None:
        super().__init__()
        self.weight, self.latents = weight, latents

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] or site_is_subsample(msg):
            return
        if self.latents is None or msg["name"] in self.latents:
            msg["scale"] = self.weight * msg["scale"]


def kl_weight(
    function: Callable[..., Any], weight: Any, latents: Sequence[str] | None = None
) -> Callable[..., Any]:
    """A model or a guide whose latents' log-densities count ``weight`` times.

    With both of them the ELBO is ``E log p(x | z) - weight KL(q || p)``, under every ELBO that
    knows scales. For warm-up the weight rises from 0 to 1 (`kl_warmup`), lest the latents be
    given up before the decoder has learnt to use them::

        def step(x, weight):
            svi = SVI(kl_weight(model, weight), kl_weight(guide, weight), optimizer, Trace_ELBO())
            return svi.step(x)

    Args:
        function: model or guide.
        weight: a number, or a tensor without dimensions.
        latents: names of the sites that it is for; all latents by default.

    Returns:
        A function of the same arguments. Observed sites keep their weight.

    Raises:
        TypeError: for a function that is none, or names that are none.

    References:
        Higgins et al., "beta-VAE", 2017, equation 4; Bowman et al., "Generating Sentences from a
        Continuous Space", 2016, section 3.1.

    Example:
        >>> import torch, pyro.distributions as dist
        >>> from pyro import poutine, sample
        >>> def model():
        ...     sample("z", dist.Normal(0.0, 1.0))
        >>> trace = poutine.trace(kl_weight(model, 0.25)).get_trace()
        >>> trace.nodes["z"]["scale"]
        0.25
    """
    if not callable(function):
        raise TypeError(f"function: expected a model or a guide, got {type(function).__name__}")
    weighted: Callable[..., Any] = _KLWeight(weight, check_latent_names(latents))(function)
    return weighted

"""A weight on the KL of an ELBO, for warm-up and for beta-VAEs."""

from collections.abc import Callable, Sequence
from typing import Any

from numpyro.primitives import Messenger

from flowkit_core.warmup import check_latent_names


class _KLWeight(Messenger):
    def __init__(
        self, function: Callable[..., Any], weight: Any, latents: frozenset[str] | None
    ) -> None:
        super().__init__(function)
        self.weight, self.latents = weight, latents

    def process_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] != "sample" or msg["is_observed"]:
            return
        if self.latents is None or msg["name"] in self.latents:
            scale = msg.get("scale")
            msg["scale"] = self.weight if scale is None else self.weight * scale


def kl_weight(
    function: Callable[..., Any], weight: Any, latents: Sequence[str] | None = None
) -> Callable[..., Any]:
    """A model or a guide whose latents' log-densities count ``weight`` times.

    With both of them the ELBO is ``E log p(x | z) - weight KL(q || p)``, under every ELBO that
    knows scales. For warm-up the weight rises from 0 to 1 (`kl_warmup`), lest the latents be
    given up before the decoder has learnt to use them; it may be traced::

        def weighted(function):
            return lambda x, weight: kl_weight(function, weight)(x)


        svi = SVI(weighted(model), weighted(guide), optimizer, Trace_ELBO())
        state, loss = svi.update(state, x, kl_warmup(step, 1000))

    Args:
        function: model or guide.
        weight: a number, or an array without dimensions.
        latents: names of the sites that it is for; all latents by default.

    Returns:
        A function of the same arguments. Observed sites keep their weight.

    Raises:
        TypeError: for a function that is none, or names that are none.

    References:
        Higgins et al., "beta-VAE", 2017, equation 4; Bowman et al., "Generating Sentences from a
        Continuous Space", 2016, section 3.1.

    Example:
        >>> import numpyro.distributions as dist
        >>> from numpyro import handlers, sample
        >>> def model():
        ...     sample("z", dist.Normal(0.0, 1.0))
        >>> trace = handlers.trace(handlers.seed(kl_weight(model, 0.25), 0)).get_trace()
        >>> trace["z"]["scale"]
        0.25
    """
    if not callable(function):
        raise TypeError(f"function: expected a model or a guide, got {type(function).__name__}")
    weighted: Callable[..., Any] = _KLWeight(function, weight, check_latent_names(latents))
    return weighted

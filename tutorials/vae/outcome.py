"""What a trained variant yields, and what is asked of it. Knows neither library."""

from dataclasses import dataclass, field

import numpy as np

from flowkit_core.surgery import ElboSurgery, Estimate, LatentSurgery, PriorFitResult
from flowkit_core.surgery.estimate import mean_over_rows


@dataclass(frozen=True)
class Outcome:
    """One VAE after training.

    Args:
        variant: a key of `VARIANTS`.
        bounds: held-out log-likelihood of each image by importance weights, (n,).
        held_out: surgery of the held-out images, for their reconstruction.
        train: surgery of the training images: theirs is the aggregated posterior that a prior
            can match.
        posterior_draws: of the aggregated posterior q(z), (k, latents).
        prior_draws: of p(z), (m, latents).
        drawn: brightness of images decoded from some of these, (l, pixels).
        curve: (epoch, ELBO of the validation images) at each look.
        seconds: that training took, compilation included.
        latents: surgery latent by latent, where the prior is one of independent latents.
        prior_fit: a flow fitted to the aggregated posterior afterwards, if one was.
    """

    variant: str
    bounds: np.ndarray
    held_out: ElboSurgery
    train: ElboSurgery
    posterior_draws: np.ndarray
    prior_draws: np.ndarray
    drawn: np.ndarray
    curve: list = field(default_factory=list)
    seconds: float = 0.0
    latents: LatentSurgery | None = None
    prior_fit: PriorFitResult | None = None

    @property
    def log_likelihood(self):
        """Mean over held-out images, and its standard error with them as a sample."""
        return mean_over_rows(self.bounds[None])

    @property
    def kept(self):
        """The epoch whose weights were kept."""
        return max(self.curve, key=lambda look: look[1])[0]

    def gain_over(self, other):
        """How much larger the held-out log-likelihood is than another's, image by image.

        An image that is hard for one VAE is hard for the other, so the error of the mean
        difference is far smaller than that of either mean.
        """
        if other is self:
            return Estimate(0.0, 0.0)
        return mean_over_rows((self.bounds - other.bounds)[None])


# For the pictures: draws of p(z), about as many of q(z), and images decoded.
NUM_DRAWS = 20_000
NUM_DECODED = 16


def draws_of_each(rows):
    """How often each of these posteriors is drawn from, so that there are enough of q(z)."""
    return -(-NUM_DRAWS // len(rows))

"""Start a guide where the posterior is."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowkit_core import checks
from flowkit_core.warm_start import CHUNK, RADIUS, Gaussian, WarmStart, find_gaussian
from flowkit_core.warm_start.target import Floats
from pyro_flowkit.guides.auto_flow import AutoFlow
from pyro_flowkit.guides.layers import affine_layer
from pyro_flowkit.guides.model_checks import check_start, meet
from pyro_flowkit.guides.target import Target


def warm_start(
    guide: AutoFlow,
    *args: Any,
    seed: int = 0,
    method: str = "laplace",
    num_starts: int = 4,
    **kwargs: Any,
) -> WarmStart:
    """Set a guide's frame to the location and scale of the posterior.

    Climbs the log-density by L-BFGS from ``num_starts`` points, takes the Gaussians at the top
    (inverse Hessian) and on the way (inverse Hessian as L-BFGS knows it), and keeps the one with
    the best ELBO, so a higher mode wins over a lower one, and a posterior without a mode (a funnel)
    gets a Gaussian from the way. The covariance is full up to 128 latents and diagonal above, where
    the ELBO of diagonal Gaussians is climbed, too, by Adam.
    The guide's last layers become that Gaussian; its flow stays what it is, the identity if it is
    new. Everything trained afterwards works in coordinates in which the posterior is about standard
    Normal, so latents of any scale train at one learning rate, also in SVI by hand::

        warm_start(guide, data)
        svi = SVI(model, guide, optimizer, Trace_ELBO())

    Cost: some hundred evaluations of the model's gradient for each start, and up to 30 Hessians;
    above 128 latents 8000 gradients, one at a time, instead of Hessians.

    Args:
        guide: the guide, changed in place; it is called with the arguments first, if it is new.
        args: the model's arguments.
        seed: of the starts and of what the model draws.
        method: "laplace", or "pathfinder" to do without second derivatives.
        num_starts: the guide's own starting point and ``num_starts - 1`` from the cube (-2, 2)^D.
        kwargs: the model's keyword arguments.

    Returns:
        A `WarmStart`: what was found.

    Raises:
        ModelError: if the model has discrete or no latents, or no finite density at the start;
            the message names the site.
        TypeError: for another kind of guide.

    References:
        Zhang, Carpenter, Gelman, Vehtari, "Pathfinder", 2022; Tierney, Kadane, "Accurate
        Approximations for Posterior Moments", 1986 (Laplace).

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> from pyro_flowkit import AutoIAF
        >>> def model():
        ...     x = pyro.sample("x", dist.Normal(100.0, 0.01))
        ...     pyro.sample("y", dist.Normal(x, 0.01), obs=torch.tensor(100.02))
        >>> start = warm_start(AutoIAF(model))
        >>> print(f"{start.gaussian.loc[0]:.2f} +- {start.gaussian.sds[0]:.4f}")
        100.01 +- 0.0071
    """
    if not isinstance(guide, AutoFlow):
        raise TypeError(f"guide: expected an AutoFlow, got {type(guide).__name__}")
    count = checks.positive_int("num_starts", num_starts)
    seed = checks.int_at_least("seed", seed, 0)
    model = guide.bare_model()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        meet(guide, args, kwargs)
        check_start(model, guide, args, kwargs)
        target = Target(guide, model, args, kwargs)
        return find_start(guide, target, seed=seed, method=method, num_starts=count)


def find_start(
    guide: AutoFlow, target: Target, *, seed: int, method: str, num_starts: int
) -> WarmStart:
    """`warm_start` with settings and a model that are checked; moves torch's global generators."""
    loc = guide._init_loc()
    first = loc.double().cpu().numpy()
    rng = np.random.default_rng(seed)
    cube = rng.uniform(-RADIUS, RADIUS, size=(num_starts - 1, len(first)))
    found = find_gaussian(
        _Target(target, loc, seed),
        [first, *cube],
        Gaussian(first, np.full(len(first), guide.init_scale)),
        method=method,
        seed=seed,
    )
    set_frame(guide, found.gaussian)
    return found


@torch.no_grad()
def set_frame(guide: AutoFlow, gaussian: Gaussian) -> None:
    """Make this Gaussian the frame of a guide, and its affine layer the identity."""
    transform = guide.get_transform()
    *_, affine, frame = transform.layers
    like = next(frame.parameters())
    loc = torch.as_tensor(gaussian.loc).to(like)
    scale = torch.as_tensor(gaussian.scale).to(like)
    zeros = torch.zeros_like(loc)
    log_scale = torch.log(scale if scale.dim() == 1 else scale.diagonal())
    lower = None if scale.dim() == 1 else torch.tril(scale, -1)
    affine.load_state_dict(affine_layer(zeros, zeros, frozen=False).state_dict())
    frame.load_state_dict(affine_layer(loc, log_scale, lower, frozen=True).state_dict())


class _Target:
    """A model's log-density over packed unconstrained latents (`flowkit_core` Target)."""

    def __init__(self, target: Target, like: Tensor, seed: int) -> None:
        self._target, self._like, self._seed = target, like, seed
        self.eps = torch.finfo(like.dtype).eps

    def log_densities(self, points: Floats) -> Floats:
        """Log-density of each row."""
        with torch.no_grad():
            return self._given(self._evaluated(self._own(points)))

    def value_and_gradient(self, point: Floats) -> tuple[float, Floats]:
        """Log-density of one point and its gradient."""
        at = self._own(point[None]).requires_grad_()
        value = self._evaluated(at)
        (gradient,) = torch.autograd.grad(value.sum(), at)
        return float(value.detach()), self._given(gradient[0])

    def hessian(self, point: Floats) -> Floats:
        """Second derivatives at one point: the gradient of each row's own gradient entry."""
        dim = len(point)
        at = self._own(np.tile(point, (dim, 1))).requires_grad_()
        (gradient,) = torch.autograd.grad(self._evaluated(at).sum(), at, create_graph=True)
        (rows,) = torch.autograd.grad(gradient.diagonal().sum(), at)
        return self._given(rows)

    def _evaluated(self, rows: Tensor) -> Tensor:
        torch.manual_seed(self._seed)  # a function of the point, whatever the model draws
        return self._target.in_chunks(rows, CHUNK)

    def _own(self, values: Floats) -> Tensor:
        return torch.as_tensor(values).to(self._like)

    @staticmethod
    def _given(values: Tensor) -> Floats:
        return values.detach().double().cpu().numpy()

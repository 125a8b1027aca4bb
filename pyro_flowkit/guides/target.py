"""The posterior that a guide approximates, as a function of its unconstrained latents."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer.autoguide.guides import AutoContinuous
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import biject_to
from torch.distributions.transforms import ComposeTransform, IndependentTransform, Transform

from pyro_flowkit.guides.devices import cuda_devices

# A public name of torch that its type information leaves out.
_LinAlgError = torch.linalg.LinAlgError  # type: ignore[attr-defined]


class Target:
    """The function ``u -> log p(data, theta(u)) + log |det dtheta/du|`` of rows of latents.

    u is what the guide draws: all latents, packed and unconstrained; theta the model's own. The
    model is run once for all rows, under a plate to the left of its own, as Pyro's ELBOs do with
    ``vectorize_particles=True``; a model that does not broadcast is run row by row.

    What the model itself draws (rows of subsampled plates) comes from torch's global generator:
    seed that, inside of ``torch.random.fork_rng()``.

    Args:
        guide: a guide that has met its model.
        model: the model.
        args: its arguments.
        kwargs: its keyword arguments.
    """

    def __init__(
        self,
        guide: AutoContinuous,
        model: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self._guide, self._model, self._args, self._kwargs = guide, model, args, dict(kwargs)
        # Neither changes from step to step, and to make them anew is a tenth of a small step.
        self._layouts: dict[torch.Size, list[_Piece]] = {}
        self._plates: dict[int, pyro.plate] = {}
        self.parameters, self._depth = self._explore()
        self.is_vectorized = self._broadcasts()

    def log_density(self, latents: Tensor) -> Tensor:
        """Log-density of each row, (n, D) to (n,), differentiable."""
        if self.is_vectorized:
            try:
                return self._together(latents)
            except _LinAlgError:  # of some row; the others are as good as ever
                pass
        return torch.stack([self._alone(row) for row in latents])

    def in_chunks(self, latents: Tensor, chunk_size: int) -> Tensor:
        """`log_density` with at most ``chunk_size`` rows at once."""
        return torch.cat([self.log_density(part) for part in latents.split(chunk_size)])

    def _explore(self) -> tuple[dict[str, Tensor], int]:
        """Parameters of the model, and how many dimensions its plates take."""
        values, _ = self._constrained(self._guide._init_loc(), 1)
        with torch.no_grad(), poutine.block():
            model = poutine.condition(self._model, data=values)
            trace = poutine.trace(poutine.block(model, hide_fn=site_is_subsample)).get_trace(
                *self._args, **self._kwargs
            )
        params = {
            name: site["value"].unconstrained()
            for name, site in trace.nodes.items()
            if site["type"] == "param" and site["value"] is not None
        }
        return params, plate_nesting(trace)

    def _broadcasts(self) -> bool:
        """Whether two rows at once give what they give one by one."""
        loc = self._guide._init_loc()
        rows = torch.stack([loc, loc + 0.01])
        # Rows of a subsampled plate are the same in every run if the generator is.
        with torch.no_grad(), torch.random.fork_rng(devices=cuda_devices(loc)):
            seed = torch.initial_seed()
            torch.manual_seed(seed)
            try:
                together = self._together(rows)
            except Exception as error:  # whatever a model may do with a shape it does not expect
                problem = f"{type(error).__name__}: {error}"
            else:
                alone = []
                for row in rows:
                    torch.manual_seed(seed)
                    alone.append(self._alone(row))
                expected = torch.stack(alone)
                tolerance = 64 * torch.finfo(loc.dtype).eps ** 0.5
                if torch.allclose(together, expected, rtol=tolerance, atol=tolerance):
                    return True
                problem = f"it gives {together.tolist()} instead of {expected.tolist()}"
        warnings.warn(
            "the model does not broadcast over a plate to the left of its own, so particles are "
            f"evaluated one by one, which is slower ({problem})",
            stacklevel=3,
        )
        return False

    def _together(self, latents: Tensor) -> Tensor:
        count = len(latents)
        spread = latents.reshape(count, *(1,) * self._depth, latents.shape[-1])
        values, log_jacobian = self._constrained(spread, count)
        score = _LogDensity(values, self._depth)
        with _unvalidated(), score, self._particles(count):
            self._model(*self._args, **self._kwargs)
        return score.total + log_jacobian

    def _alone(self, latent: Tensor) -> Tensor:
        values, log_jacobian = self._constrained(latent, 1)
        score = _LogDensity(values, None)
        try:
            with _unvalidated(), score:
                self._model(*self._args, **self._kwargs)
        except _LinAlgError:  # as of a covariance that rounding made indefinite
            return latent.new_full((), torch.nan)
        return (score.total + log_jacobian)[0]

    def _constrained(self, latents: Tensor, count: int) -> tuple[dict[str, Tensor], Tensor]:
        """Values of the sites, and ``log |det dtheta/du|`` of each row."""
        values: dict[str, Tensor] = {}
        total = latents.new_zeros(count)
        layout = self._layouts.get(latents.shape)
        if layout is None:
            layout = self._layouts[latents.shape] = list(_layout(self._guide, latents))
        for piece in layout:
            unconstrained = latents[..., piece.columns].view(piece.shape)
            if piece.transform is None:
                values[piece.name] = unconstrained
                continue
            value = piece.transform(unconstrained)
            log_det = piece.transform.log_abs_det_jacobian(unconstrained, value)
            values[piece.name] = value
            total = total + log_det.reshape(count, -1).sum(-1)
        return values, total

    def _particles(self, count: int) -> pyro.plate:
        """The plate of that many particles, to the left of the model's own."""
        if count not in self._plates:
            self._plates[count] = pyro.plate("_particles", count, dim=-self._depth - 1)
        return self._plates[count]


class _Piece(NamedTuple):
    """Where a site's value stands in packed latents of one shape.

    Args:
        name: of the site.
        columns: of the latents.
        shape: of the unconstrained value.
        transform: to the site's own space; None for the identity.
    """

    name: str
    columns: slice
    shape: torch.Size
    transform: Transform | None


def _layout(guide: AutoContinuous, latents: Tensor) -> Iterator[_Piece]:
    """The pieces of latents of that shape, in the order in which the guide packs them."""
    start = 0
    for site, unconstrained in guide._unpack_latent(latents):
        stop = start + guide._unconstrained_shapes[site["name"]].numel()
        transform = biject_to(site["fn"].support)
        kept = None if _is_identity(transform) else transform
        yield _Piece(site["name"], slice(start, stop), unconstrained.shape, kept)
        start = stop


def _is_identity(transform: Transform) -> bool:
    """Whether this is what torch maps to the real numbers by: a composition of nothing."""
    if isinstance(transform, IndependentTransform):
        return _is_identity(transform.base_transform)
    return isinstance(transform, ComposeTransform) and not transform.parts


def plate_nesting(*traces: Trace) -> int:
    """Dimensions that the plates of some traces take, counted from the right."""
    frames = (
        -frame.dim
        for trace in traces
        for site in trace.nodes.values()
        for frame in site.get("cond_indep_stack", ())
        if frame.dim is not None  # none of a sequential plate
    )
    return max(frames, default=0)


@contextmanager
def _unvalidated() -> Iterator[None]:
    """Out of sight of the caller's handlers; what overflows is not an error but a density of zero.

    The first run of the model, at the guide's starting point, is validated.
    """
    with poutine.block(), pyro.validation_enabled(False):
        yield


class _LogDensity(Messenger):
    """Adds up the log-densities of a model's sites at given values of its latents."""

    def __init__(self, values: dict[str, Tensor], depth: int | None) -> None:
        super().__init__()
        self._values, self._depth = values, depth
        self.total: Any = 0.0

    def _pyro_sample(self, msg: Any) -> None:
        value = self._values.get(msg["name"])
        if value is not None:
            msg["value"] = value
            msg["is_observed"] = True

    def _pyro_post_sample(self, msg: Any) -> None:
        if site_is_subsample(msg):
            return
        log_prob = msg["fn"].log_prob(msg["value"], *msg["args"], **msg["kwargs"])
        log_prob = scale_and_mask(log_prob, msg["scale"], msg["mask"])
        if self._depth is not None and log_prob.dim() > self._depth:
            self.total = self.total + log_prob.reshape(len(log_prob), -1).sum(-1)
        else:  # a single row, or a site that no latent reaches, the same for every row
            self.total = self.total + log_prob.sum()

"""The posteriors of all data points: one distribution, or one for each batch of an encoder."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.utils.checkpoint import checkpoint

from flowkit_core.surgery import consecutive, posterior_parts, rows_per_tile, slices
from pyro_flowkit.process_group import Group
from pyro_flowkit.surgery.gaussian_pairs import GaussianPairs, gaussian_params
from pyro_flowkit.surgery.shards import log_sum_of_shards
from pyro_flowkit.surgery.streamed import log_sum_of_pairs

# Numbers that a flow's or another distribution's density holds for each latent of each pair: a
# guess, for a conditional flow with hidden layers of some ten times d.
_COPIES = 32


class Posterior:
    """``q(z | x_i)`` of n data points, in parts, and what surgery asks of them.

    Args:
        posterior: a distribution of batch shape (n,) and event shape (d,), or an iterable of such,
            which is read once.
        group: processes, each of which has some of the data points, or none; n is the number of
            all of them, and what is asked of a row is asked of this process's rows.

    Raises:
        TypeError: for something else.
        ValueError: for other shapes, parts that do not fit together, or none.
    """

    def __init__(
        self, posterior: Distribution | Iterable[Distribution], group: Group | None = None
    ) -> None:
        self.group = Group(None) if group is None else group
        self.parts: list[Distribution] = self.group.together(
            lambda: posterior_parts(posterior, Distribution, allow_none=self.group.size > 1)
        )
        self.sizes = [part.batch_shape[0] for part in self.parts]
        self.num_own = sum(self.sizes)
        dims = {part.event_shape[0] for part in self.parts}
        told = self.group.gathered((self.num_own, dims))
        self.num_data = sum(count for count, _ in told)
        # Of all processes, those with data points know; they have to agree.
        dims = set().union(*(dims for _, dims in told))
        if len(dims) != 1:
            raise ValueError(
                "posterior: expected data points, and one event shape in all processes, got "
                f"{self.num_data} and {sorted(dims)}"
            )
        self.dim: int = next(iter(dims))
        #: Which of all data points are this process's.
        start = sum(count for count, _ in told[: self.group.rank])
        self.own = slice(start, start + self.num_own)

    def rows(self) -> list[slice]:
        """Which data points each part has."""
        return consecutive(self.sizes)

    def sample(self, num_samples: int) -> Tensor:
        """Draws (num_samples, n, d); differentiable where the distribution's are."""
        shape = torch.Size((num_samples,))
        draws = [p.rsample(shape) if p.has_rsample else p.sample(shape) for p in self.parts]
        if not draws:
            return torch.zeros(num_samples, 0, self.dim)
        return torch.cat(draws, 1)

    def sample_at_random(self, count: int) -> Tensor:
        """Draws (count, d) of posteriors that are themselves drawn, with replacement."""
        chosen = torch.randint(self.num_data, (count,))
        found: list[tuple[Tensor, Tensor]] = []
        for part, rows in zip(self.parts, self.rows(), strict=True):
            (here,) = ((chosen >= rows.start) & (chosen < rows.stop)).nonzero(as_tuple=True)
            if len(here):
                found.append((here, _draws_at(part, chosen[here] - rows.start)))
        if not found:
            return self.sample(1)[0, :0]
        draws = torch.cat([values for _, values in found])
        # Back to the order in which they were chosen.
        order = torch.cat([where for where, _ in found]).argsort()
        return draws[order.to(draws.device)]

    def means(self, z: Tensor) -> Tensor:
        """The mean of each, (n, d): by draws z (num_samples, n, d) where it is not known."""
        found = []
        for part, rows in zip(self.parts, self.rows(), strict=True):
            gaussian = gaussian_params(part)
            found.append(z[:, rows].mean(0) if gaussian is None else gaussian[1][0])
        return torch.cat(found) if found else z[0]

    def log_prob(self, z: Tensor) -> Tensor:
        """``log q(z_i | x_i)``, (..., n), of points (..., n, d), each under its own posterior."""
        found = [
            _own_log_prob(part, z[..., rows, :])
            for part, rows in zip(self.parts, self.rows(), strict=True)
        ]
        return torch.cat(found, -1) if found else z.new_zeros(z.shape[:-1], dtype=torch.float64)

    def log_sum(
        self, z: Tensor, *, memory_limit: int, progress: Callable[[int], Any] | None = None
    ) -> Tensor:
        """``logsumexp_j log q(z_i | x_j)`` over all n, (m,), of points (m, d), in float64."""

        def over_own(points: Tensor) -> Tensor:
            return self._log_sum_over_own(points, memory_limit, progress)

        if self.group.size == 1:
            return over_own(z)
        return log_sum_of_shards(self.group, z, over_own)

    def _log_sum_over_own(
        self, z: Tensor, memory_limit: int, progress: Callable[[int], Any] | None
    ) -> Tensor:
        if not self.parts:
            return 0 * z.to(torch.float64).sum(-1) - torch.inf
        found = []
        kinds: dict[type[GaussianPairs], list[tuple[Tensor, ...]]] = {}
        for part in self.parts:
            gaussian = gaussian_params(part)
            if gaussian is not None:
                kinds.setdefault(gaussian[0], []).append(gaussian[1])
            else:
                found.append(_log_sum_of_any(part, z, memory_limit, progress))
        for kind, params in kinds.items():
            joined = tuple(torch.cat(column) for column in zip(*params, strict=True))
            found.append(
                log_sum_of_pairs(z, kind, joined, memory_limit=memory_limit, progress=progress)
            )
        return found[0] if len(found) == 1 else torch.logsumexp(torch.stack(found), 0)


def _draws_at(part: Distribution, rows: Tensor) -> Tensor:
    """A draw of each of these rows; those that stand there several times differ."""
    gaussian = gaussian_params(part)
    if gaussian is not None:
        kind, params = gaussian
        return kind(*(param[rows.to(param.device)] for param in params)).draw()
    order = rows.argsort(stable=True)
    _, counts = rows.unique(return_counts=True)
    # How many times a row stood there before.
    before = torch.cat([torch.arange(int(count)) for count in counts])
    repeats = torch.empty_like(rows)
    repeats[order] = before
    draws = part.sample(torch.Size((int(counts.max()),)))
    return draws[repeats.to(draws.device), rows.to(draws.device)]


def _own_log_prob(part: Distribution, z: Tensor) -> Tensor:
    """In float64 where the density is known; the own draw's rounding would not average out."""
    gaussian = gaussian_params(part)
    if gaussian is None:
        return part.log_prob(z).to(torch.float64)
    params = (param.to(torch.float64) for param in gaussian[1])
    wide = gaussian[0](*params)
    flat = z.to(torch.float64).reshape(-1, *z.shape[-2:])
    return torch.stack([wide.own(points) for points in flat]).reshape(z.shape[:-1])


def _log_sum_of_any(
    part: Distribution,
    z: Tensor,
    memory_limit: int,
    progress: Callable[[int], Any] | None,
) -> Tensor:
    """The same for any distribution: some points against all data points of a batch at once."""
    count = part.batch_shape[0]
    size = _COPIES * count * z.shape[-1] * z.element_size()

    def score(points: Tensor) -> Tensor:
        return torch.logsumexp(part.log_prob(points[:, None]).to(torch.float64), 1)

    found = []
    for rows in slices(len(z), rows_per_tile(size, memory_limit)):
        # A gradient computes the pairs anew rather than to hold them all.
        found.append(checkpoint(score, z[rows], use_reentrant=False))
        if progress is not None:
            progress(count * len(found[-1]))
    return torch.cat(found) if found else z.new_zeros(0, dtype=torch.float64)

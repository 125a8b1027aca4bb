"""Surgery in several processes, each of which has some of the data points and of the draws.

What all of them need of each other are the draws, some at a time, and for each draw a maximum and a
sum of exponentials; the table of all pairs is divided among them by its columns, the posteriors.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from pyro_flowkit.bases.base import lent_generator
from pyro_flowkit.process_group import Group

# Points that all processes score at a time.
_POINTS = 8192


@contextmanager
def own_stream(generator: torch.Generator | None, group: Group) -> Iterator[None]:
    """`lent_generator`, in which every process has a stream of its own.

    All streams come from the first process's generator: processes whose generators were seeded
    alike would else draw the same noise for different data points. Each generator moves on by one
    number.
    """
    if group.size > 1:
        device = "cpu" if generator is None else generator.device
        seed = int(torch.randint(2**62, (), generator=generator, device=device))
        numbers = np.random.SeedSequence((group.gathered(seed)[0], group.rank))
        (own,) = numbers.generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(own) % 2**63)
    with lent_generator(generator):
        yield


def log_sum_of_shards(group: Group, z: Tensor, log_sum: Callable[[Tensor], Tensor]) -> Tensor:
    """``logsumexp_j log q(z_i | x_j)`` over the data points j of all processes, (m,).

    With a gradient, by points and posteriors, of the sum of all processes' losses: each has to go
    back through it, if any does.

    Args:
        group: the processes.
        z: this process's points (m, d), as many as it likes.
        log_sum: of points, the same over this process's data points.
    """
    group.check_same("torch.is_grad_enabled()", torch.is_grad_enabled())
    z, counts = _agreed(group, z)
    size = max(_POINTS // group.size, 1)
    found = [z.new_zeros(0, dtype=torch.float64)]
    for start in range(0, max(counts), size):
        pieces = [min(max(count - start, 0), size) for count in counts]
        local = log_sum(_everyones(group, z[start : start + size], pieces))
        if torch.is_grad_enabled() and any(group.gathered(local.requires_grad)):
            # Sums over the processes have a way back in all of them, or none comes through.
            local = local if local.requires_grad else local.detach().requires_grad_()
        found.append(group.log_sum(local)[_own(group, pieces)])
    return torch.cat(found)


def all_draws(group: Group, z: Tensor) -> Tensor:
    """The draws (num_samples, n, d) of all processes' data points, from each one's own."""
    if group.size == 1:
        return z
    z, counts = _agreed(group, z)
    return _everyones(group, z, counts)


def _agreed(group: Group, z: Tensor) -> tuple[Tensor, list[int]]:
    """Points as the other processes have theirs, and how many each of them has."""
    wanted = torch.is_grad_enabled() and z.requires_grad
    own = z.dtype, z.device.type
    told = group.gathered((z.shape[-2], own, wanted))
    kinds = {kind for count, kind, _ in told if count}
    if len(kinds) > 1:
        raise ValueError(
            "z: expected one dtype and type of device in every process, got "
            f"{sorted(map(str, kinds))}"
        )
    if kinds.isdisjoint([own]):  # this process has no points, which might be anything
        dtype, device = next(iter(kinds), own)
        z = z.to(device, dtype)
    if any(flag for *_, flag in told) and not wanted:
        z = z.detach().requires_grad_()
    return z, [count for count, *_ in told]


def _own(group: Group, pieces: list[int]) -> slice:
    start = sum(pieces[: group.rank])
    return slice(start, start + pieces[group.rank])


def _everyones(group: Group, z: Tensor, pieces: list[int]) -> Tensor:
    """Points (..., pieces[rank], d) of all processes, one behind the other, with a gradient."""
    own = _own(group, pieces)
    return group.sum(pad(z, (0, 0, own.start, sum(pieces) - own.stop)))

"""One computation in several processes: what they exchange, by ``torch.distributed``.

In a fit every process takes the same steps: gradients and losses are averaged before anything is
decided, and what else a fit reads (a clock, a checkpoint, a warm start) is what the first process
reads. In surgery each has some of the data points, and sums over all of them are sums of sums.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


class Group:
    """The processes of a group (`flowkit_core.fitting.processes.Processes`).

    Args:
        group: of ``torch.distributed``; None for this process alone.

    Raises:
        TypeError: for something else than a process group.
        ValueError: if this process is not one of the group.
    """

    def __init__(self, group: Any | None) -> None:
        self._group = group
        self.size, self.rank = 1, 0
        if group is None:
            return
        if not dist.is_available() or not isinstance(group, dist.ProcessGroup):
            raise TypeError(
                "process_group: expected a torch.distributed.ProcessGroup, as "
                f"torch.distributed.group.WORLD is after init_process_group(), got {group!r}"
            )
        self.size, self.rank = dist.get_world_size(group), dist.get_rank(group)
        if self.rank < 0:
            raise ValueError("process_group: expected a group that this process belongs to")
        self._first = dist.get_global_rank(group, 0)

    def share(self, num_particles: int) -> int:
        """How many particles each process draws.

        Raises:
            ValueError: if they cannot be shared out equally.
        """
        if num_particles % self.size:
            raise ValueError(
                f"num_particles: expected a multiple of {self.size}, the number of processes that "
                f"share them, got {num_particles}"
            )
        return num_particles // self.size

    def first(self, call: Callable[[], T]) -> T:
        """What the first process gets from the call; what it raises, all raise."""
        if self.size == 1:
            return call()
        told: list[Any] = [None, None]
        if self.rank == 0:
            try:
                told = [call(), None]
            except Exception as error:
                told = [None, error]
        dist.broadcast_object_list(told, src=self._first, group=self._group)
        result, problem = told
        if problem is not None:
            raise problem
        return result

    def gathered(self, own: T) -> list[T]:
        """What each process has, in every process."""
        if self.size == 1:
            return [own]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, own, group=self._group)
        return found

    def together(self, call: Callable[[], T]) -> T:
        """This process's own result of the call; what it raises in one of them, all raise."""
        if self.size == 1:
            return call()
        result: Any = None
        problem: Exception | None = None
        try:
            result = call()
        except Exception as error:
            problem = error
        for told in self.gathered(problem):
            if told is not None:
                raise problem or told
        return result

    def check_same(self, what: str, own: Any) -> None:
        """Raise ValueError, in every process, unless all of them have the same."""
        found = self.gathered(own)
        other = next((i for i, value in enumerate(found) if value != found[0]), None)
        if other is not None:
            raise ValueError(
                f"{what}: expected the same in every process, got {found[0]} in the first and "
                f"{found[other]} in process {other}"
            )

    def start_alike(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's values, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), src=self._first, group=self._group)

    def average(self, tensors: list[Tensor]) -> None:
        """The mean over the processes of each tensor, in place."""
        if self.size == 1:
            return
        kinds = {(tensor.device, tensor.dtype) for tensor in tensors}
        for device, dtype in sorted(kinds, key=str):  # in the same order in every process
            own = [t for t in tensors if (t.device, t.dtype) == (device, dtype)]
            flat = torch.cat([t.detach().reshape(-1) for t in own])  # one message for all of them
            dist.all_reduce(flat, group=self._group)
            flat /= self.size
            for tensor, mean in zip(own, flat.split([t.numel() for t in own]), strict=True):
                tensor.detach().copy_(mean.view_as(tensor))

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the processes, with a gradient: that of the sum of all their losses.

        Its gradient is a sum over the processes, too, so that all have to go back through it.
        """
        if self.size == 1:
            return tensor
        total: Tensor = _Sum.apply(tensor, self._group)
        return total

    def log_sum(self, tensor: Tensor) -> Tensor:
        """``log sum exp`` over the processes: their maximum, and the sum of what is left of each.

        With a gradient, as `sum`.
        """
        if self.size == 1:
            return tensor
        largest = tensor.detach().clone()
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self._group)
        largest = torch.where(largest.isfinite(), largest, 0.0)
        return largest + self.sum(torch.exp(tensor - largest)).log()


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: Any) -> Tensor:
        ctx.group = group
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(gradients[0], ctx.group), None

"""What all learnt bases have in common."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.distributions import Distribution

from flowkit_core.bases import BaseSpec


class Base(nn.Module):
    """A module whose call gives a distribution of vectors (D,) with its parameters in it.

    Args:
        spec: which arrays there are, and where they start; in torch's default dtype.
    """

    def __init__(self, spec: BaseSpec) -> None:
        super().__init__()
        self.spec = spec
        for name, start in spec.arrays().items():
            parameter = nn.Parameter(torch.tensor(start, dtype=torch.get_default_dtype()))
            self.register_parameter(name, parameter)

    @property
    def input_dim(self) -> int:
        """Number of coordinates D."""
        return self.spec.input_dim

    @abstractmethod
    def forward(self) -> Distribution:
        """The distribution as it is now."""

    def extra_repr(self) -> str:
        """What ``repr`` shows in the brackets."""
        return str(self.spec)


def draw_seeded(base: Distribution, count: int, generator: torch.Generator | None) -> torch.Tensor:
    """Draws (count, D), from ``generator`` if there is one.

    Torch's distributions take no generator.
    """
    with lent_generator(generator):
        return base.sample((count,))


@contextmanager
def lent_generator(generator: torch.Generator | None) -> Iterator[None]:
    """Draw from ``generator`` within the block, if there is one.

    Torch's own generator gets a seed from it, and is afterwards in the state in which it was.
    """
    if generator is None:
        yield
        return
    device = generator.device
    seed = torch.randint(2**62, (), generator=generator, device=device)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(int(seed))
        yield

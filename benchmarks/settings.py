"""How much is measured: the full run and the quick one."""

from dataclasses import dataclass, field

from benchmarks.libraries import LIBRARIES, OURS

# The fastest peers of their backend: enough for a quick look.
QUICK_PEERS = ("normflows", "pyro", "numpyro", "flowjax")


@dataclass(frozen=True)
class Settings:
    """Sizes, rounds and devices of one run.

    Args:
        quick: few sizes, few rounds, the fastest peers.
        devices: backend -> devices to measure on, "cpu" first.
    """

    quick: bool = False
    devices: dict = field(default_factory=lambda: {"torch": ("cpu",), "jax": ("cpu",)})

    @property
    def dims(self):
        return (64,) if self.quick else (8, 32, 64, 128, 256)

    @property
    def widths(self):
        return (128,) if self.quick else (128, 512)

    @property
    def rounds(self):
        """Rounds of a comparison whose calls are short; see `rounds.number_of_rounds`."""
        return 5 if self.quick else 7

    @property
    def block_seconds(self):
        """Least CPU time of the calls that make one figure of one round."""
        return 0.05

    def libraries(self, backend, family):
        """Names of the libraries of a backend that offer a family; ours is first."""
        return [
            name
            for name, library in LIBRARIES.items()
            if library.backend == backend
            and family in library.families
            and (not self.quick or name in QUICK_PEERS or name in OURS.values())
        ]

"""How much work a fit may do."""

from dataclasses import asdict, dataclass

PEER_PARTICLES = 16
# Of Adam, first and last, along a cosine.
PEER_RATES = (1e-2, 1e-3)


@dataclass(frozen=True)
class Budget:
    """Steps of a fit and draws that it is judged by."""

    num_steps: int = 10_000
    num_draws: int = 10_000

    def to_dict(self):
        """Plain values."""
        return asdict(self)


FULL = Budget()
QUICK = Budget(num_steps=300, num_draws=2000)

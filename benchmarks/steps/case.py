"""What a step is a step of: a guide, a number of particles, and who takes it."""

from dataclasses import asdict, dataclass

DIM = 64
HIDDEN = 64
LEARNING_RATE = 1e-3
MAX_NORM = 10.0


def steps_of(backend, particles):
    """Steps of one call.

    A fit takes 200 between two looks at its losses. In torch, where steps share nothing, and of
    many particles, beside which a call's own cost is nothing, fewer make the same figure.
    """
    if backend == "torch":
        return 20
    return 200 if particles < 100 else 40


@dataclass(frozen=True)
class StepCase:
    """Steps of one guide of a Gaussian with `DIM` coordinates; two hidden layers of `HIDDEN`, relu.

    Args:
        loop: "fit_guide"; "svi", the same guide under the PPL's own SVI and Adam;
            "auto_iaf_normal", the PPL's own guide there; "bare", the same flow and Adam without a
            PPL.
        particles: draws of the guide per step, in one pass.
        family: "iaf", 3 layers, or "realnvp", 8 layers.
        gradient: "total" or "path".
        base: "normal" or "student_t".
    """

    loop: str
    particles: int
    family: str = "iaf"
    gradient: str = "total"
    base: str = "normal"

    def to_dict(self):
        return asdict(self)

    def steps(self, backend):
        """Steps of one call."""
        return steps_of(backend, self.particles)

    @property
    def guide_arguments(self):
        """Of the wings' guides."""
        layers = {"iaf": 3, "realnvp": 8}[self.family]
        return {
            "num_layers": layers,
            "hidden_dims": (HIDDEN, HIDDEN),
            "activation": "relu",
            "base": self.base,
        }

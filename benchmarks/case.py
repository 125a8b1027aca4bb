"""What is measured: one flow, and the operations on it."""

from dataclasses import asdict, dataclass

# Scoring maps data to base, sampling base to data. The LU-linear layer multiplies when it samples
# and solves when it scores. "_grad": the backward pass too, to the input and to every weight.
OPERATIONS = ("score", "score_grad", "sample", "sample_grad", "log_det")
# Steps of a fit: of `fit_guide` beside other loops, and by the path gradient beside the total one.
PARTICLES = (1, 16, 256)
GUIDES = {"iaf": "AutoIAF", "realnvp": "AutoRealNVP"}
OPERATION_TITLES = {
    "score": "scoring",
    "score_grad": "scoring with gradient",
    "sample": "sampling",
    "sample_grad": "sampling with gradient",
    "log_det": "log-determinant",
    **{f"step_{n}": f"a step with {n} particle{'s' * (n > 1)}" for n in PARTICLES},
    **{
        f"path_{family}_{n}": f"a path-gradient step of {title} with {n} particle{'s' * (n > 1)}"
        for family, title in GUIDES.items()
        for n in PARTICLES
    },
}


@dataclass(frozen=True)
class Case:
    """One flow with random weights, or with those of a file.

    Args:
        family: "maf", "realnvp", "lu", "planar" or "sylvester", or of images "image_coupling" or
            "conv1x1".
        dim: number of coordinates D.
        hidden: width of both hidden layers.
        layers: number of layers.
        batch: points per call.
        inverse: our recipes' argument of that name; None leaves its default.
        weights: file of named arrays that replace the random weights; ours only.
        device: "cpu" or "cuda".
    """

    family: str
    dim: int
    hidden: int = 128
    layers: int = 5
    batch: int = 256
    inverse: str | None = None
    weights: str | None = None
    device: str = "cpu"

    @property
    def image_shape(self):
        """(channels, height, width) of a flow of images: 8x8 pixels, or 2x2 of a small one."""
        side = 8 if self.dim >= 256 else 2
        return self.dim // side**2, side, side

    @property
    def event_shape(self):
        """Shape of one point."""
        is_image = self.family in ("image_coupling", "conv1x1")
        return self.image_shape if is_image else (self.dim,)

    def to_dict(self):
        return asdict(self)

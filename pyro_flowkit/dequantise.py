"""Integer levels to numbers in [0, 1)."""

import torch
from torch import Tensor

from flowkit_core import checks


def dequantise(
    levels: Tensor, num_levels: int = 256, *, generator: torch.Generator | None = None
) -> Tensor:
    """Spread integer levels evenly over [0, 1): ``x = (level + u) / num_levels``, u uniform.

    A density of x is then a lower bound on a probability of levels,
    ``log P(levels) >= E log p(x) - D log(num_levels)``, which `bits_per_dim` turns into bits.
    Without the noise a flow would put spikes on the levels, of any density it likes.

    Args:
        levels: whole numbers 0 .. num_levels - 1, of any shape and any real dtype.
        num_levels: 256 for images of 8 bits.
        generator: source of the noise, on the device of the levels; torch's own by default.

    Returns:
        x of the shape of levels; of their dtype if that is floating, else of torch's default.

    Raises:
        TypeError: for something that is no tensor of numbers.
        ValueError: for levels out of range or not whole.

    References:
        Theis, van den Oord, Bethge, "A note on the evaluation of generative models", 2016, section
        3.1; Uria, Murray, Larochelle, "RNADE", 2013.

    Example:
        >>> x = dequantise(torch.tensor([0, 3, 7]), 8, generator=torch.Generator().manual_seed(0))
        >>> torch.floor(8 * x).tolist()
        [0.0, 3.0, 7.0]
    """
    num_levels = checks.int_at_least("num_levels", num_levels, 2)
    if not isinstance(levels, Tensor) or levels.is_complex() or levels.dtype == torch.bool:
        got = levels.dtype if isinstance(levels, Tensor) else type(levels).__name__
        raise TypeError(f"levels: expected a tensor of real numbers, got {got}")
    start = levels if levels.is_floating_point() else levels.to(torch.get_default_dtype())
    whole = (start >= 0) & (start < num_levels) & (start == start.floor())
    if not whole.all():
        raise ValueError(
            f"levels: expected whole numbers 0 .. {num_levels - 1}, got {start[~whole][0].item()}"
        )
    noise = torch.rand(start.shape, generator=generator, dtype=start.dtype, device=start.device)
    # The sum rounds up where u is close to 1: keep it below the next level.
    return torch.minimum(start + noise, torch.nextafter(start + 1, start)) / num_levels

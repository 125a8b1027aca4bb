"""How the sequential direction is found: which method, and in which steps."""

import math
from functools import lru_cache

import torch

from flowkit_core.specs import MADESpec
from flowkit_core.sweep import sweep_steps

# On an accelerator a block of steps costs its few kernel launches, however small; from this many
# coordinates on, a handful of whole passes is cheaper.
ACCELERATOR_FIXED_POINT_FROM = 32

# On a CPU one iteration of a block should multiply about this often: less, and the time goes into
# calling torch; more, and the iterations repeat more arithmetic than they save calls.
BLOCK_MULTIPLICATIONS = 3_000_000


def choose_inverse(requested: str, *, input_dim: int, device: torch.device) -> str:
    """The method that ``inverse=requested`` means: "sweep" or "fixed_point".

    Args:
        requested: "auto", "sweep" or "fixed_point".
        input_dim: number of coordinates.
        device: where the tensors are.
    """
    if requested != "auto":
        return requested
    large = input_dim >= ACCELERATOR_FIXED_POINT_FROM
    return "fixed_point" if device.type != "cpu" and large else "sweep"


@lru_cache(maxsize=256)
def block_depth(spec: MADESpec, method: str, batch: int) -> int:
    """How many steps of a sweep are taken together; all of them make the fixed point.

    Args:
        spec: the conditioner's architecture.
        method: "sweep" or "fixed_point".
        batch: number of points.
    """
    steps = len(sweep_steps(spec))
    if method == "fixed_point":
        return steps
    # A block of a share s of the steps has a share s of each layer's rows and of its inputs, so one
    # iteration multiplies s^2 times as often as a whole pass.
    whole = batch * sum(rows * columns for rows, columns, _ in spec.layer_sizes())
    share = math.sqrt(BLOCK_MULTIPLICATIONS / max(1, whole))
    return max(1, min(steps, round(share * steps)))

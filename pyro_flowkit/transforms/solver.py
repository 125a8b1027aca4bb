"""How the sequential direction is found: which method, and in which steps."""

import math
import warnings
from functools import lru_cache

import torch
from torch import Tensor

from flowkit_core.numerics import round_trip_tolerance
from flowkit_core.reports import ConvergenceWarning
from flowkit_core.specs import MADESpec
from flowkit_core.sweep import sweep_steps
from pyro_flowkit.laws import Law
from pyro_flowkit.transforms.feature_major import FeatureMajorMADE
from pyro_flowkit.transforms.sweep import Solution, sweep

# On an accelerator a block of steps costs its few kernel launches, however small; from this many
# coordinates on, a handful of whole passes is cheaper.
ACCELERATOR_FIXED_POINT_FROM = 32

# On a CPU one iteration of a block should multiply about this often: less, and the time goes into
# calling torch; more, and the iterations repeat more arithmetic than they save calls.
BLOCK_MULTIPLICATIONS = 1_000_000


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


def solve(
    net: FeatureMajorMADE, law: Law, free: Tensor | None, v: Tensor, *, method: str
) -> Solution:
    """Find u with ``law.forward(u_j; params(u_1 .. u_{j-1})) = v_j``, all (D, batch).

    Warns:
        ConvergenceWarning: if a fixed point still moves after as many iterations as are exact
            without rounding.
    """
    depth = block_depth(net.spec, method, v.shape[1])
    solution = sweep(net, law, free, v, depth=depth)
    if method == "fixed_point" and solution.iterations == depth > 1:
        raw, _ = net.evaluate(solution.u)
        params = raw.unbind(1) + (() if free is None else free[:, :, None].unbind(0))
        warn_if_moving(solution.u, law.inverse(v, params)[0])
    return solution


def warn_if_moving(u: Tensor, once_more: Tensor) -> None:
    """Warn if one more iteration moves a finite point, (D, batch), by more than rounding."""
    moved = (once_more - u).abs().amax(0)
    tolerance = round_trip_tolerance(torch.finfo(u.dtype).eps)
    count = int((moved > tolerance * (1 + u.abs().amax(0))).sum())
    if count:
        warnings.warn(
            f"fixed point: {count} of {u.shape[1]} points still move after {len(u)} iterations, "
            f"by up to {float(moved.nan_to_num().max()):.1e}; "
            'inverse="sweep" or float64 is more accurate',
            ConvergenceWarning,
            stacklevel=2,
        )

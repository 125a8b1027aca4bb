"""Call the compiled sweep of a layer, and its way back."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from flowkit_core.native.library import kernel
from flowkit_core.specs import MADESpec
from pyro_flowkit.laws import Law
from pyro_flowkit.native.layer import NativeLayer, address, addresses, native_layer, supported
from pyro_flowkit.transforms.found import Found

# Starting a thread takes about as long as this many multiplications.
MULTIPLICATIONS_PER_THREAD = 10_000_000

# Points of the largest tile; shares of other sizes would end in short tiles.
LARGEST_TILE = 64


@dataclass(frozen=True)
class CompiledSweep:
    """One layer, ready for the C side.

    Args:
        spec: the conditioner's architecture.
        law: the law that the parallel map applies.
        layer: the layer as a C structure.
        library: the compiled functions.
    """

    spec: MADESpec
    law: Law
    layer: NativeLayer
    library: ctypes.CDLL

    def solve(self, v: Tensor) -> Found:
        """Find u with ``law.forward(u_j; params(u_1 .. u_{j-1})) = v_j``; v is (n, D)."""
        v, points = v.contiguous(), v.shape[0]
        u, log_det = torch.empty_like(v), v.new_empty(points)
        raw = v.new_empty(self.spec.input_dim, self.spec.num_params, points)
        pres = [v.new_empty(width, points) for width in self.spec.hidden_dims]
        arrays = [address(t) for t in (v, u, log_det, raw)]
        self._run(self.library.flowkit_sweep, points, [*arrays, addresses(pres)])
        return Found(u, log_det, (raw, *pres), 1)

    def pull(
        self, u: Tensor, kept: Sequence[Tensor], g_u: Tensor, g_l: Tensor
    ) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """The reverse rule, up to the products that give the gradients of weights.

        Args:
            u: (n, D).
            kept: raw outputs and pre-activations at u, as `solve` keeps them.
            g_u: cotangent of u, (n, D).
            g_l: cotangent of the log-determinant, (n,).

        Returns:
            The cotangent of v, (n, D); of what each linear layer puts out, (outputs, n); and of
            the affine law's log-scales, (D, n).
        """
        raw, *pres = (t.contiguous() for t in kept)
        u, g_u, g_l = u.contiguous(), g_u.contiguous(), g_l.contiguous()
        points, dims = u.shape
        a, c_pres = torch.empty_like(u), [torch.empty_like(pre) for pre in pres]
        c_raw = u.new_empty(self.spec.num_params * dims, points)
        c_scale = u.new_empty(dims, points) if self.layer.struct.affine else None
        arrays = [address(u), address(raw), addresses(pres), address(g_u), address(g_l), None, None]
        results = [address(a), address(c_raw), address(c_scale), addresses(c_pres)]
        self._run(self.library.flowkit_pullback, points, [*arrays, *results])
        return a, [*c_pres, c_raw], c_scale

    def _run(self, function: Callable[..., int], points: int, arrays: Sequence[object]) -> None:
        """Call for shares of the points, in as many of torch's threads as pay."""
        layer = ctypes.byref(self.layer.struct)
        work = points * self.layer.work // MULTIPLICATIONS_PER_THREAD
        share = max(1, -(-points // max(1, min(torch.get_num_threads(), work))))
        share += -share % LARGEST_TILE
        starts = range(0, points, share)

        def call(first: int) -> int:
            return function(layer, points, first, min(first + share, points), *arrays)

        if len(starts) < 2:
            failures = [call(first) for first in starts]
        else:  # threads of their own: a forked process would miss those of a pool
            with ThreadPoolExecutor(len(starts)) as threads:
                failures = list(threads.map(call, starts))
        if any(failures):
            raise MemoryError(f"sweep: no memory for tiles of {self.spec.input_dim} coordinates")


def compiled_sweep(
    spec: MADESpec,
    law: Law,
    arrays: Mapping[str, Tensor],
    context: Tensor | None,
    free: Tensor | None,
    like: Tensor,
) -> CompiledSweep | None:
    """The compiled sweep of a layer, or None where there is none.

    That is off the CPU, without a compiler, for residual networks and for other laws.

    Args:
        spec: the conditioner's architecture.
        law: the law that the parallel map applies.
        arrays: the network's arrays by name.
        context: (n, context_dim), or None.
        free: the law's free parameters (num_free, D), or None.
        like: a tensor of the dtype and on the device of the points.
    """
    if not supported(spec, law, like.device):
        return None
    library = kernel(str(like.dtype).removeprefix("torch."))
    if library is None:
        return None
    layer = native_layer(spec, law, arrays, context, free, like.dtype)
    return CompiledSweep(spec, law, layer, library)

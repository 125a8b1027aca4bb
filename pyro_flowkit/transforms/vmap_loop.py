"""A batching rule for functions that torch cannot batch: one evaluation per entry."""

from typing import Any

import torch


def vmap_by_loop(
    function: type[torch.autograd.Function],
    batch_size: int,
    in_dims: tuple[Any, ...],
    args: tuple[Any, ...],
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """``vmap`` of an autograd function whose iterations depend on the data.

    Args:
        function: the function.
        batch_size: size of the mapped dimension.
        in_dims: where each argument has it; None where it does not.
        args: the arguments.
    """
    if all(d is None for d in in_dims):
        outputs = function.apply(*args)
        return outputs, (None,) * len(outputs)
    results = [
        function.apply(
            *(a if d is None else a.select(d, i) for a, d in zip(args, in_dims, strict=True))
        )
        for i in range(batch_size)
    ]
    outputs = tuple(torch.stack(parts) for parts in zip(*results, strict=True))
    return outputs, (0,) * len(outputs)

"""Two processes, one for each library, that fit side by side."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

LIBRARIES = ("Pyro", "NumPyro")


def _one_thread():
    # The networks are small: a second thread would wait more than it computes, and there are two
    # processes already.
    import torch

    torch.set_num_threads(1)


@contextmanager
def lanes() -> Iterator[dict[str, ProcessPoolExecutor]]:
    """An executor of one process for each library; jobs in it run one after the other."""
    # Not forked: JAX has threads of its own, which a fork would lose.
    context = multiprocessing.get_context("spawn")
    starts = {"Pyro": _one_thread, "NumPyro": None}
    workers = {
        library: ProcessPoolExecutor(1, mp_context=context, initializer=starts[library])
        for library in LIBRARIES
    }
    try:
        yield workers
    finally:
        for worker in workers.values():
            worker.shutdown(cancel_futures=True)

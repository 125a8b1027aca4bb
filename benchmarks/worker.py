"""One measuring process: `python -m benchmarks.worker LIBRARY DEVICE CORE`.

It pins itself to one core before it imports any framework, so that thread pools get one thread,
then answers requests, one JSON object per line. `benchmarks.workers` is the other end.
"""

import json
import os
import sys
import time
import traceback


def pin(core):
    """Run on that core alone, where the system can be told so."""
    if core >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


class Server:
    """Holds the operations that were prepared and measures them on request."""

    def __init__(self, library, device):
        from benchmarks.libraries import LIBRARIES
        from benchmarks.peers import adapter, operation_class

        if LIBRARIES[library].backend == "torch":
            import torch

            torch.set_num_threads(1)
        self.library = library
        self.device = device
        self.adapter = adapter(library)
        self.operation = operation_class(library)
        self.flows = {}
        self.operations = []

    def prepare(self, case, operation):
        """Build, compile and call once; returns a handle, or the reason why not."""
        try:
            made = self._made(case, operation)
        except ValueError as error:
            return {"skipped": str(error)}
        self.operations.append(made)
        first = _timed(made, made.fresh())
        return {
            "handle": len(self.operations) - 1,
            "first": first,
            "compile": made.compile_seconds,
        }

    def _made(self, case, operation):
        if operation == "step":
            from benchmarks.steps.case import StepCase
            from benchmarks.steps.operation import StepOperation

            return StepOperation(self.library, StepCase(**case))
        from benchmarks.case import Case

        case = Case(**case)
        if case not in self.flows:
            self.flows[case] = self.adapter.build(case)
        return self.operation(self.flows[case], case, operation)

    def time(self, handle, block_seconds):
        """Median over enough calls to fill ``block_seconds`` of wall time."""
        made = self.operations[handle]
        cpu, wall = [], []
        while not wall or (sum(wall) < block_seconds and len(wall) < 2000):
            figures = _timed(made, made.fresh())
            cpu.append(figures["cpu"])
            wall.append(figures["wall"])
        return {"cpu": _median(cpu), "wall": _median(wall), "calls": len(wall)}

    def memory(self, handle):
        """Bytes that one call needs beside weights and input; see `benchmarks.memory`."""
        from benchmarks.memory import peak_growth

        made = self.operations[handle]
        if hasattr(made, "temporary_bytes"):
            return {"bytes": made.temporary_bytes()}
        return {"bytes": peak_growth(lambda: made.call(made.fresh()))}

    def sequential(self, case, exact):
        """What the sequential direction of ours did and, if wanted, how exact it was."""
        from benchmarks.case import Case
        from benchmarks.sequential import describe

        return describe(self.adapter, Case(**case), exact=exact)

    def train(self, dim, path, steps):
        """Fit a flow to a Gaussian chain and keep its weights in a file; ours in torch only."""
        from benchmarks.training import train

        return train(dim, path, steps)

    def large_fit(self, **problem):
        """Fit a guide of thousands of latents; see `benchmarks.large_fit`."""
        from benchmarks.large_fit import measure

        return measure(self.library, **problem)

    def all_pairs(self, **problem):
        """The aggregated posterior of many Gaussians; see `benchmarks.all_pairs`."""
        from benchmarks.all_pairs import measure

        return measure(self.library, **problem)

    def curve(self, case, **settings):
        """How near a guide comes to a target, step by step; see `benchmarks.steps.curve`."""
        from benchmarks.steps.case import StepCase
        from benchmarks.steps.curve import curve

        return curve(self.library, StepCase(**case), **settings)


def _timed(made, values):
    made.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    made.call(values)
    made.wait()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def _median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def main():
    library, device, core = sys.argv[1:]
    pin(int(core))
    # Replies have the real standard output to themselves, whatever a library prints.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = Server(library, device)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(server, request.pop("do"))(**request)
        except Exception as error:
            traceback.print_exc()
            reply = {"failure": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()

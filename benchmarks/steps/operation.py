"""Steps as an operation that `benchmarks.worker` can time."""

import itertools

from benchmarks.steps import loops


class StepOperation:
    """Some steps per call (`case.STEPS`), going on from those of the last call."""

    compile_seconds = None

    def __init__(self, library, case):
        self._take = loops(library).LOOPS[case.loop](case)
        self._number = itertools.count(1)
        # JAX compiles in the first call, the moments of Adam are made there in torch.
        self.call(self.fresh())

    def fresh(self):
        """Number of the call, from which its randomness follows."""
        return next(self._number)

    def call(self, number):
        self._take(number)

    def wait(self):
        """Calls wait themselves."""

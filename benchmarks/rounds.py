"""Interleaved rounds: A B C A B C, one worker at a time."""

from contextlib import ExitStack

from benchmarks.workers import Worker, WorkerError

# Fewest rounds, and the CPU seconds that the rounds of one cell may fill before they are fewer than
# the settings ask for.
LEAST_ROUNDS = 3
CELL_SECONDS = 6

# A call that takes longer needs no warm-up: the first one counts as the first round.
LONG_CALL_SECONDS = 1.0


def number_of_rounds(seconds_per_round, most):
    """As many rounds as fit the time of a cell, but never fewer than three."""
    return int(min(max(CELL_SECONDS / max(seconds_per_round, 1e-9), LEAST_ROUNDS), most))


class Field:
    """Competitors, each in a process of its own; a context manager that ends them.

    Args:
        settings: the run's `Settings`.
        libraries: name of the competitor -> library.
        device: "cpu" or "cuda".
    """

    def __init__(self, settings, libraries, device="cpu"):
        self.settings = settings
        self._stack = ExitStack()
        self.workers = {
            name: self._stack.enter_context(Worker(library, device))
            for name, library in libraries.items()
        }

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def measure(self, cases, operation):
        """One operation of several flows, side by side.

        Args:
            cases: name of the competitor -> Case; those left out do not take part.
            operation: one of `benchmarks.case.OPERATIONS`.

        Returns:
            For each name ``cpu``, ``wall`` (seconds per call) and ``calls`` of each round, those of
            the ``first`` call, those of ``compile`` in JAX; or the reason why ``skipped``.
        """
        entries = {name: self._first_round(name, cases[name], operation) for name in cases}
        live = {name: entry for name, entry in entries.items() if "handle" in entry}
        expected = sum(entry["cpu"][0] * entry["calls"][0] for entry in live.values())
        for _ in range(number_of_rounds(expected, self.settings.rounds) - 1):
            for name, entry in list(live.items()):
                if not self._one_round(name, entry):
                    del live[name]
        for entry in live.values():
            del entry["handle"]
        return entries

    def _first_round(self, name, case, operation):
        entry = self._prepared(name, case, operation)
        if "skipped" in entry:
            return entry
        first = entry["first"]
        entry.update(cpu=[], wall=[], calls=[])
        if first["cpu"] < LONG_CALL_SECONDS:
            self._one_round(name, entry)
        else:
            for field, value in {**first, "calls": 1}.items():
                entry[field].append(value)
        return entry

    def _prepared(self, name, case, operation):
        try:
            return self.workers[name].ask("prepare", case=case.to_dict(), operation=operation)
        except WorkerError as error:
            return {"skipped": str(error)}

    def _one_round(self, name, entry):
        """Whether it succeeded; a failure takes the place of what was measured."""
        try:
            reply = self.workers[name].ask(
                "time", handle=entry["handle"], block_seconds=self.settings.block_seconds
            )
        except WorkerError as error:
            entry.clear()
            entry["skipped"] = str(error)
            return False
        for field in ("cpu", "wall", "calls"):
            entry[field].append(reply[field])
        return True

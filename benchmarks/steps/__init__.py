"""Steps of a fit by several loops.

A module for each backend has `LOOPS`, name -> ``build(case)``, which returns what takes some steps
when called with a number, `twisted`, a target of known evidence, and `trainer_of`.
"""

import importlib

from benchmarks.libraries import LIBRARIES


def loops(library):
    """The module of that library's backend; its import imports the framework."""
    return importlib.import_module(f"benchmarks.steps.{LIBRARIES[library].backend}_loops")

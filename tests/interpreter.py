"""A new interpreter, in which some packages can be missing, and the random streams of this one."""

import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]

BLOCK = """
    import sys

    class Block:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {blocked!r}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
            return None

    sys.meta_path.insert(0, Block())
"""


def run(code, blocked=()):
    """Run code in a new interpreter in which some packages cannot be imported."""
    source = textwrap.dedent(BLOCK.format(blocked=tuple(blocked))) + textwrap.dedent(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, env=environment, cwd=ROOT
    )


def global_streams():
    """State of the random streams of Python and numpy."""
    return str(np.random.get_state()), random.getstate()  # noqa: NPY002

"""Execute the notebooks of this folder: ``python -m tutorials.notebooks``; ``--help`` has options.

Each runs in a kernel of its own and in an empty folder, so that nothing that it writes stays
behind. An error in a cell, text on stderr or too long a run is a failure.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

FOLDER = Path(__file__).parent
# Dots per inch: enough to read a picture on a screen, few enough to commit it.
DPI = 72


def main(arguments=None) -> None:
    """Execute the notebooks asked for; print the seconds of each."""
    options = parsed(arguments)
    failed = []
    for path in options.paths:
        print(f"{path.name:40}", end="", flush=True)
        began, cpu = time.perf_counter(), _cpu_seconds_of_children()
        notebook, problem = execute(path, limit=options.limit)
        seconds, cpu = time.perf_counter() - began, _cpu_seconds_of_children() - cpu
        print(f"{seconds:7.0f} s {cpu:7.0f} s of CPU", f"  FAILED: {problem}" if problem else "")
        if problem:
            failed.append(path.name)
        elif options.write:
            write(notebook, path)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def execute(path, *, limit):
    """The notebook with its outputs, and what went wrong, an empty text if nothing did.

    Args:
        path: the notebook; it is left as it is.
        limit: seconds for all of its cells together.
    """
    notebook = nbformat.read(path, as_version=4)
    end = time.monotonic() + limit
    with tempfile.TemporaryDirectory() as scratch:
        # Matplotlib reads its settings from the folder that it is started in.
        Path(scratch, "matplotlibrc").write_text(f"figure.dpi: {DPI}\n", encoding="utf-8")
        client = NotebookClient(
            notebook, kernel_name="python3", resources={"metadata": {"path": scratch}},
            timeout_func=lambda cell: max(1, end - time.monotonic()), record_timing=False,
            startup_timeout=limit, extra_arguments=["--log-level=ERROR"],
            coalesce_streams=True,
        )  # fmt: skip
        try:
            client.execute(env=_environment())
        except CellTimeoutError:
            return notebook, f"not done after {limit} s"
        except DeadKernelError:
            return notebook, "the kernel died, such as for want of memory"
        except CellExecutionError as error:
            return notebook, f"{error.ename}: {error.evalue}\n{error.traceback}"
    return notebook, on_stderr(notebook)


def write(notebook, path):
    """Write a notebook, without the version of the Python that it ran in."""
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, path)


def on_stderr(notebook):
    """Text that cells have written to stderr, such as warnings; it has no place in a tutorial."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "".join(output.text for output in outputs if output.get("name") == "stderr")


def parsed(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tutorials.notebooks", description="Execute the tutorial notebooks."
    )
    parser.add_argument("numbers", nargs="*", help="such as 1 6; all of them by default")
    parser.add_argument("--write", action="store_true", help="keep the outputs in the notebooks")
    parser.add_argument("--limit", type=int, default=900, help="seconds for each, default 900")
    options = parser.parse_args(arguments)
    options.paths = [p for p in sorted(FOLDER.glob("*.ipynb")) if _is_asked_for(p, options.numbers)]
    if not options.paths:
        parser.error(f"no notebook of {FOLDER} has a number of {options.numbers}")
    return options


def _is_asked_for(path, numbers):
    return not numbers or path.name.partition("_")[0] in numbers


def _environment():
    """The kernel's: this one's, and the repository's root among its paths."""
    paths = [str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _cpu_seconds_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(sys.argv[1:])

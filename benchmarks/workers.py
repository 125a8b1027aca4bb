"""Starting measuring processes and asking them questions."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

# A hung or swapping peer must not hold up the whole run.
TIMEOUT_SECONDS = 900


class WorkerError(RuntimeError):
    """The process died, or answered with an error; the message is fit for a table."""


class Worker:
    """One measuring process; a context manager that ends it.

    Args:
        library: name in `benchmarks.libraries.LIBRARIES`.
        device: "cpu" or "cuda".
        memory: let freed blocks go back to the system at once, so that resident memory is live
            memory; slower, so not for times.
    """

    def __init__(self, library, device="cpu", memory=False):
        self.library = library
        command = [sys.executable, "-m", "benchmarks.worker", library, device, str(core())]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
            env=_environment(device, memory),
        )
        self.complaints = []
        # Read all the time, lest a talkative library fill the pipe and stop.
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def ask(self, do, **arguments):
        """Send one request and return the reply.

        Raises:
            WorkerError: if the worker failed; ``complaints`` holds what it wrote.
        """
        timer = threading.Timer(TIMEOUT_SECONDS, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            raise WorkerError(f"{self.library}: process ended, {self._reason()}")
        reply = json.loads(line)
        if "failure" in reply:
            raise WorkerError(reply["failure"])
        return reply

    def _listen(self):
        for line in self.process.stderr:
            self.complaints = [*self.complaints[-20:], line.strip()]

    def _reason(self):
        code = self.process.wait()
        if code < 0:
            return f"killed by signal {-code} (out of memory or past {TIMEOUT_SECONDS} s)"
        return self.complaints[-1][:200] if self.complaints else f"exit status {code}"

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.listener.join()
        self.process.stdout.close()
        self.process.stderr.close()


def core():
    """The core that all workers share, one at a time; -1 where processes cannot be pinned."""
    if not hasattr(os, "sched_getaffinity"):
        return -1
    return max(os.sched_getaffinity(0))


def _environment(device, memory):
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
    )
    environment = {
        **os.environ,
        **threads,
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # or compile times would be reading times
        "PYTHONWARNINGS": "ignore",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    if memory:
        environment.update(MALLOC_MMAP_THRESHOLD_="65536", MALLOC_TRIM_THRESHOLD_="65536")
    if device == "cpu":
        environment.update(JAX_PLATFORMS="cpu", CUDA_VISIBLE_DEVICES="")
    return environment


def cuda_devices():
    """Backend -> name of the CUDA device that it sees here; asked in processes of their own."""
    questions = {
        "torch": "import torch; print(torch.cuda.get_device_name())",
        "jax": "import jax; print(jax.devices('gpu')[0].device_kind)",
    }
    found = {}
    for backend, question in questions.items():
        command = [sys.executable, "-c", question]
        answer = subprocess.run(command, check=False, capture_output=True, text=True)
        if answer.returncode == 0:
            found[backend] = answer.stdout.strip()
    return found

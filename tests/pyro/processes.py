"""Processes on this machine that call one function together."""

import os
import pickle
import signal
import subprocess
import sys

from tests.interpreter import ROOT

# What is imported is imported once: each process is a fork of that.
START = """
import datetime, importlib, os, pickle, sys, traceback, warnings
import torch
import torch.distributed as dist

module, name, count, folder = sys.argv[1:]
function = getattr(importlib.import_module(module), name)


def run(rank):
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=int(count),
        timeout=datetime.timedelta(seconds=60),
    )
    result = function(rank, folder)
    with open(f"{folder}/{name}-{rank}", "wb") as file:
        pickle.dump(result, file)
    dist.destroy_process_group()


children = []
for rank in range(int(count)):
    children.append(os.fork())
    if children[-1] == 0:
        told = os.open(f"{folder}/told-{rank}", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(told, 2)
        failed = 0
        try:
            run(rank)
        except BaseException:
            traceback.print_exc()
            failed = 1
        sys.stderr.flush()
        os._exit(failed)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


def in_processes(function, folder, count=2):
    """What ``function(rank, folder)`` returns in each of some processes with a gloo group."""
    (folder / "store").unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", START, function.__module__, function.__name__, str(count), folder],
        env={**os.environ, "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}, cwd=ROOT,
        start_new_session=True,
    )  # fmt: skip
    try:
        failed = process.wait(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    told = [(folder / f"told-{rank}").read_text() for rank in range(count)]
    assert not failed, "\n".join(told)
    return [
        pickle.loads((folder / f"{function.__name__}-{rank}").read_bytes()) for rank in range(count)
    ], told

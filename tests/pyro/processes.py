"""Two processes on this machine that call one function together."""

import os
import pickle
import subprocess
import sys
import time

from tests.interpreter import ROOT

START = """
import datetime, os, pickle, sys, warnings
warnings.simplefilter("error")
import torch
import torch.distributed as dist
import importlib
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
module, name, rank, folder = sys.argv[1:]
rank = int(rank)
dist.init_process_group(
    "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2,
    timeout=datetime.timedelta(seconds=60),
)
result = getattr(importlib.import_module(module), name)(rank, folder)
with open(f"{folder}/{name}-{rank}", "wb") as file:
    pickle.dump(result, file)
dist.destroy_process_group()
"""


def in_two_processes(function, folder):
    """What ``function(rank, folder)`` returns in each of two processes with a gloo group."""
    (folder / "store").unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-c", START, function.__module__, function.__name__]
    started = [
        subprocess.Popen(
            [*command, str(rank), str(folder)], stderr=subprocess.PIPE, text=True, env=environment,
            cwd=ROOT,
        )
        for rank in range(2)
    ]  # fmt: skip
    end = time.monotonic() + 120
    try:
        told = [process.communicate(timeout=end - time.monotonic())[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], "\n".join(told)
    return [
        pickle.loads((folder / f"{function.__name__}-{rank}").read_bytes()) for rank in range(2)
    ], told

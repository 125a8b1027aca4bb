"""Settings of every test: float64 in JAX, one thread in torch, stores emptied."""

import jax
import numpy as np
import pyro
import pytest
import torch

jax.config.update("jax_enable_x64", True)
# Tests compile hundreds of small programs and run each a few times.
jax.config.update("jax_disable_most_optimizations", True)
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _fresh_parameter_store():
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


@pytest.fixture
def rng():
    """A numpy generator with a fixed seed."""
    return np.random.default_rng(20240607)


def pytest_collection_modifyitems(items):
    without_gpu = pytest.mark.skip(reason="no GPU that the framework can use")
    for item in items:
        if "gpu" in item.keywords and not _has_gpu(item.path):
            item.add_marker(without_gpu)


def _has_gpu(path):
    if "numpyro" in path.name:
        return jax.default_backend() == "gpu"
    return torch.cuda.is_available()


@pytest.fixture(autouse=True, scope="module")
def _no_programs_of_other_modules():
    """Let JAX forget what it compiled for a module of tests once that is done.

    Every program that is kept holds pages of executable memory; thousands of them take gigabytes,
    and in the end more separate mappings than Linux grants to a process, which is a crash.
    """
    yield
    jax.clear_caches()

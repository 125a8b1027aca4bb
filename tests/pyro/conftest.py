"""Every Pyro test starts from an empty parameter store and the same seed."""

import pyro
import pytest
import torch


@pytest.fixture(autouse=True)
def _fresh_pyro():
    pyro.clear_param_store()
    pyro.set_rng_seed(20240607)
    yield
    pyro.clear_param_store()


@pytest.fixture
def default_float64():
    """torch's default dtype is float64 during the test."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)

"""Which sweeps run: those compiled from C, or those compiled by XLA."""

import jax
import pytest


def _sweeps(way):
    """Switch to a way, and forget what was compiled the other way."""
    with pytest.MonkeyPatch.context() as patch:
        if way == "xla":
            patch.setenv("FLOWKIT_COMPILER", "none")
        jax.clear_caches()
        yield
    jax.clear_caches()


# What XLA computes is held against C in test_numpyro_native by default.
@pytest.fixture(scope="module", params=["c", pytest.param("xla", marks=pytest.mark.slow)])
def both_sweeps(request):
    """Every test of the module twice."""
    yield from _sweeps(request.param)


@pytest.fixture(scope="module")
def xla_sweeps():
    """Sweeps compiled by XLA: their arithmetic can be counted."""
    yield from _sweeps("xla")

"""Bits per dimension from log-densities."""

import numpy as np
import pytest

from flowkit_core.bits import bits_per_dim


@pytest.mark.parametrize("num_levels", [2, 17, 256])
def test_the_uniform_density_needs_all_bits(num_levels):
    assert bits_per_dim(0.0, 64, num_levels) == np.log2(num_levels)


def test_probabilities_of_levels_come_back():
    """A density that is constant on each level's bin: p(x) = num_levels * P(level)."""
    probabilities = np.array([0.5, 0.25, 0.125, 0.125])
    log_prob = np.log(4 * probabilities)
    np.testing.assert_allclose(bits_per_dim(log_prob, 1, 4), [1, 2, 3, 3], rtol=1e-14)
    # Three independent pixels: the mean of their bits.
    joint = log_prob[[0, 1, 3]].sum()
    np.testing.assert_allclose(bits_per_dim(joint, 3, 4), 2, rtol=1e-14)


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"num_dims: .* >= 1, got 0"):
        bits_per_dim(0.0, 0)
    with pytest.raises(TypeError, match=r"num_dims: expected an integer, got 2.5"):
        bits_per_dim(0.0, 2.5)
    with pytest.raises(ValueError, match=r"num_levels: .* >= 2, got 1"):
        bits_per_dim(0.0, 3, 1)

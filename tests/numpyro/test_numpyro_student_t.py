"""Draws of the Student-t base, and their derivatives by the degrees of freedom."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from numpyro_flowkit.bases.student_t import StudentT


def drawn(df, count, dtype=jnp.float64):
    one = jnp.ones((), dtype)
    return StudentT(df * one, 0 * one, one).sample(jax.random.key(0), (count,))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("df", [1.05, 5.0, 199.0])
def test_draws_follow_the_distribution_function(df, dtype):
    draws = drawn(df, 20_000, dtype)
    assert draws.dtype == dtype
    assert stats.kstest(np.asarray(draws, np.float64), stats.t(df).cdf).pvalue > 0.01


@pytest.mark.parametrize("df", [1.5, 5.0, 30.0])
def test_derivatives_of_draws_are_those_of_expectations(df):
    # Roots have a variance also where the draws themselves have none.
    terms = jax.jacfwd(lambda d: jnp.abs(drawn(d, 50_000)) ** 0.5)(df)
    step = 1e-3
    up, down = (stats.t(df + s).expect(np.sqrt, lb=0) for s in (step, -step))
    expected = 2 * (up - down) / (2 * step)
    error = float(terms.std()) / len(terms) ** 0.5
    assert abs(float(terms.mean()) - expected) < 4 * error


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_radius_of_zero_has_a_finite_gradient(monkeypatch, dtype):
    # Uniform numbers are zero once in eight million in single precision.
    monkeypatch.setattr(jax.random, "exponential", lambda key, *args: jnp.zeros(*args))
    value, slope = jax.value_and_grad(lambda d: drawn(d, 1, dtype).sum())(jnp.asarray(30, dtype))
    assert np.isfinite([value, slope]).all()
    assert abs(value) < 1e-2

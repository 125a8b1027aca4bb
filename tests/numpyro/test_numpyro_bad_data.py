"""Bad data and settings of fit_density."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numpyro_flowkit as fk
from tests.fits import BAD_SETTING_CASES
from tests.numpyro.models import SMALL

FLOW = fk.realnvp(3, **SMALL)
CONDITIONAL = fk.maf(3, context_dim=2, **SMALL)


def points(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


def fit(data, flow=FLOW, **kwargs):
    return fk.fit_density(flow, data, **{"num_epochs": 1, "progress": False, **kwargs})


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray])
def test_rows_that_are_not_finite_are_named(bad, convert):
    data = points(20, 3)
    data[4, 1] = bad
    data[17, 0] = bad
    with pytest.raises(ValueError, match=r"data: .*NaN or inf in rows 4, 17$"):
        fit(convert(data))


def test_many_bad_rows_are_counted():
    data = points(20, 3)
    data[2:15] = math.nan
    with pytest.raises(ValueError, match=r"rows 2, 3, .*11, \.\.\. \(13 in all\)"):
        fit(data)


def test_bad_rows_of_the_context_are_named():
    context = points(20, 2)
    context[3] = math.inf
    with pytest.raises(ValueError, match=r"context: .*rows 3$"):
        fit(points(20, 3), CONDITIONAL, context=context)


def test_numbers_too_large_for_the_flows_dtype_are_named():
    data = points(20, 3)
    data[5, 2] = 1e300
    with pytest.raises(ValueError, match=r"data: .*rows 5$"):
        fit(data, FLOW(jax.random.key(0), dtype=np.float32))


BAD_DATA = {
    "another dimension": (points(20, 4), ValueError, r"expected shape \(n, 3\), got \(20, 4\)"),
    "one row": (points(1, 3), ValueError, "at least two rows"),
    "no rows": (points(0, 3), ValueError, "at least two rows"),
    "a vector": (points(3), ValueError, r"expected shape \(n, 3\), got \(3,\)"),
    "a number": (np.float64(1.0), ValueError, r"expected shape \(n, 3\), got \(\)"),
    "a batch of matrices": (points(2, 5, 3), ValueError, r"got \(2, 5, 3\)"),
    "integers": (jnp.ones((20, 3), int), TypeError, "expected floating numbers, got int64"),
    "complex": (np.ones((20, 3), np.complex64), TypeError, "expected floating numbers"),
    "booleans": (np.ones((20, 3), bool), TypeError, "expected floating numbers, got bool"),
    "text": ([["a", "b", "c"]] * 20, TypeError, "expected floating numbers"),
    "nothing": (None, TypeError, "expected floating numbers, got object"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_data_that_does_not_fit_is_refused(case):
    data, error, message = BAD_DATA[case]
    with pytest.raises(error, match=f"data: .*{message}"):
        fit(data)


def test_a_missing_or_superfluous_context_is_refused():
    with pytest.raises(ValueError, match=r"context: expected shape \(n, 2\), got none"):
        fit(points(20, 3), CONDITIONAL)
    with pytest.raises(ValueError, match="context: expected none, got one"):
        fit(points(20, 3), context=points(20, 2))


def test_a_context_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="context: expected 20 rows, one per row of data, got 19"):
        fit(points(20, 3), CONDITIONAL, context=points(19, 2))
    with pytest.raises(ValueError, match=r"context: expected shape \(n, 2\), got \(20, 3\)"):
        fit(points(20, 3), CONDITIONAL, context=points(20, 3))


def test_a_flow_without_weights_is_refused():
    with pytest.raises(ValueError, match="expected trainable weights"):
        fit(points(20, 3), fk.permute(3, order=(2, 1, 0)))


NO_FLOWS = {
    "a recipe": fk.realnvp,
    "nothing": None,
    "a spec": FLOW.spec,
    "its inverse": FLOW(jax.random.key(0)).inv,
    "a conditioned flow": CONDITIONAL(jax.random.key(0)).condition(jnp.zeros(2)),
}


@pytest.mark.parametrize("kind", NO_FLOWS)
def test_what_is_no_flow_is_refused(kind):
    with pytest.raises(TypeError, match="flow: expected a Flow or FlowInit, got "):
        fit(points(20, 3), NO_FLOWS[kind])


def test_a_batch_of_flows_is_refused():
    flows = jax.vmap(FLOW)(jax.random.split(jax.random.key(0), 4))
    with pytest.raises(ValueError, match=r"flow: expected a single flow, got a batch of .*\(4,\)"):
        fit(points(20, 3), flows)


@pytest.mark.parametrize(("setting", "value", "error"), BAD_SETTING_CASES)
def test_settings_out_of_range_are_refused(setting, value, error):
    with pytest.raises(error, match=f"{setting}: "):
        fit(points(20, 3), **{setting: value})

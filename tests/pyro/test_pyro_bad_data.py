"""Bad data and settings of fit_density."""

import math

import numpy as np
import pytest
import torch

import pyro_flowkit as fk
from tests.fits import BAD_SETTING_CASES
from tests.pyro.helpers import SMALL, points


def fit(data, flow=None, **kwargs):
    flow = fk.realnvp(3, **SMALL) if flow is None else flow
    return fk.fit_density(flow, data, **{"num_epochs": 1, "progress": False, **kwargs})


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor])
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
        fit(points(20, 3), fk.maf(3, context_dim=2, **SMALL), context=context)


def test_numbers_too_large_for_the_flows_dtype_are_named():
    data = points(20, 3)
    data[5, 2] = 1e300
    with pytest.raises(ValueError, match=r"data: .*rows 5$"):
        fit(data)


BAD_DATA = {
    "another dimension": (points(20, 4), ValueError, r"expected shape \(n, 3\), got \(20, 4\)"),
    "one row": (points(1, 3), ValueError, "at least two rows"),
    "no rows": (points(0, 3), ValueError, "at least two rows"),
    "a vector": (points(3), ValueError, r"expected shape \(n, 3\), got \(3,\)"),
    "a batch of matrices": (points(2, 5, 3), ValueError, r"got \(2, 5, 3\)"),
    "integers": (torch.ones(20, 3, dtype=torch.int64), TypeError, "expected floating numbers"),
    "complex": (torch.ones(20, 3, dtype=torch.complex64), TypeError, "expected floating numbers"),
    "integer array": (np.ones((20, 3), dtype=int), TypeError, "expected floating numbers"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_data_that_does_not_fit_is_refused(case):
    data, error, message = BAD_DATA[case]
    with pytest.raises(error, match=f"data: .*{message}"):
        fit(data)


def test_a_missing_or_superfluous_context_is_refused():
    with pytest.raises(ValueError, match=r"context: expected shape \(n, 2\), got none"):
        fit(points(20, 3), fk.maf(3, context_dim=2, **SMALL))
    with pytest.raises(ValueError, match="context: expected none, got one"):
        fit(points(20, 3), context=points(20, 2))


def test_a_context_of_other_rows_is_refused():
    with pytest.raises(ValueError, match="context: expected 20 rows, one per row of data, got 19"):
        fit(points(20, 3), fk.maf(3, context_dim=2, **SMALL), context=points(19, 2))


def test_a_flow_without_weights_is_refused():
    with pytest.raises(ValueError, match="expected trainable weights"):
        fit(points(20, 3), fk.permute(3, order=(2, 1, 0)))


@pytest.mark.parametrize(("setting", "value", "error"), BAD_SETTING_CASES)
def test_settings_out_of_range_are_refused(setting, value, error):
    with pytest.raises(error, match=f"{setting}: "):
        fit(points(20, 3), **{setting: value})


def test_refused_data_leaves_the_flow_as_it_was():
    flow = fk.realnvp(3, **SMALL)
    before = [p.detach().clone() for p in flow.parameters()]
    data = points(20, 3)
    data[0] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        fit(data, flow)
    assert all(torch.equal(a, b) for a, b in zip(before, flow.parameters(), strict=True))

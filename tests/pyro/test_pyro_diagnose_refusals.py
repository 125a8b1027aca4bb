"""What cannot be diagnosed in Pyro, and what is wrong with it."""

import functools
import math
import sys

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import (
    AutoDelta,
    AutoNormal,
)

import pyro_flowkit as fk
from tests.pyro import models
from tests.pyro.diagnosed import SMALL, seeded


@pytest.mark.parametrize("kind", [AutoNormal, AutoDelta, None])
def test_guides_without_one_density_are_refused(kind):
    guide = kind(models.regression) if kind else models.regression
    name = kind.__name__ if kind else "function"
    with pytest.raises(TypeError, match=f"joint density.*got {name}"):
        fk.diagnose(guide)


def regression_of(data, size=None):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(data), subsample_size=size) as rows:
        pyro.sample("y", dist.Normal(mu, 1.0), obs=data[rows])


def grouped(data):
    with pyro.plate("groups", len(data)):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(x, 1.0), obs=data)


def test_subsampled_data_are_refused_and_all_of_them_taken():
    data = torch.arange(6.0)
    guide = fk.AutoRealNVP(regression_of, **SMALL)
    guide(data, size=2)
    with pytest.raises(ValueError, match=r"site 'y': plate 'rows' draws 2 of 6 rows"):
        fk.diagnose(guide, data, size=2)
    assert fk.diagnose(guide, data, num_samples=100).num_nonfinite == 0


def test_latents_of_other_shapes_are_refused():
    guide = fk.AutoRealNVP(grouped, **SMALL)
    guide(torch.zeros(3))
    with pytest.raises(ValueError, match=r"site 'x'.*\(3,\).*\(4,\)"):
        fk.diagnose(guide, torch.zeros(4))


BAD = {
    "few": ({"num_samples": 99}, ValueError, "num_samples: expected an integer >= 100, got 99"),
    "a float": ({"num_samples": 1e3}, TypeError, "num_samples: expected an integer"),
    "chunks": ({"chunk_size": 0}, ValueError, "chunk_size: expected an integer >= 1, got 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arguments_are_refused(case):
    arguments, error, message = BAD[case]
    guide = fk.AutoRealNVP(models.one_latent, **SMALL)
    for function in (fk.diagnose, functools.partial(fk.importance_resample, num_draws=5)):
        with pytest.raises(error, match=message):
            function(guide, **arguments)
    with pytest.raises(ValueError, match="num_draws"):
        fk.importance_resample(guide, num_draws=0)
    with pytest.raises(TypeError, match="replace"):
        fk.importance_resample(guide, num_draws=1, replace="yes")


def test_a_guide_whose_weights_are_nan_is_reported_and_never_raises():
    guide = fk.AutoRealNVP(models.supports, base="normal", **SMALL)
    guide()
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.fill_(torch.nan)
    found = fk.diagnose(guide, num_samples=100, generator=seeded())
    assert (found.num_invalid, found.khat, found.trusted) == (100, math.inf, False)
    with pytest.raises(ValueError, match="expected at least one above zero"):
        fk.importance_resample(guide, num_draws=10, num_samples=100)


def test_a_missing_arviz_is_asked_for_by_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ImportError, match=r'pip install "ppl-flowkit\[diagnostics\]"'):
        fk.diagnose(fk.AutoRealNVP(models.one_latent, **SMALL))

"""A flow's file also holds its learnt base, so that a fitted guide moves as a whole."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pyro
import pytest
import torch
from numpyro import distributions as ndist
from numpyro import handlers
from pyro import distributions as pdist
from safetensors.numpy import save_file
from torch import nn

import numpyro_flowkit
import pyro_flowkit
from flowkit_core import CheckpointError, read_checkpoint, write_checkpoint
from flowkit_core import recipes as r
from flowkit_core.bases import StudentTBaseSpec
from flowkit_core.checkpoint import FORMAT, read_base
from tests.cases import arrays_for

WINGS = {"pyro": pyro_flowkit, "numpyro": numpyro_flowkit}
SPEC = r.realnvp(3, num_layers=2, hidden_dims=(4,))
BASES = {
    "student_t": {"free": np.array([-2.0, 0.5, 3.0])},
    "mixture": {
        "locs": np.arange(6.0).reshape(2, 3),
        "log_scales": np.array([[0.1, -0.4, 0.3], [0.0, 0.2, -0.1]]),
        "logits": np.array([0.3, -1.0]),
    },
}


def flow_of(wing):
    arrays = arrays_for(SPEC, dtype=np.float32)
    if wing == "pyro":
        return pyro_flowkit.build(SPEC, {k: torch.from_numpy(v) for k, v in arrays.items()})
    return numpyro_flowkit.build(SPEC, {k: jnp.asarray(v) for k, v in arrays.items()})


def base_of(wing, name):
    arrays = {key: value.astype(np.float32) for key, value in BASES[name].items()}
    if wing == "numpyro":
        kind = type(getattr(numpyro_flowkit, f"{name}_base")(3)(jax.random.key(0)))
        return kind(**arrays)
    sizes = {"num_components": 2} if name == "mixture" else {}
    base = getattr(pyro_flowkit, f"{name}_base")(3, **sizes)
    for key, value in arrays.items():
        setattr(base, key, nn.Parameter(torch.from_numpy(value)))
    return base


def log_prob(wing, path, x):
    """Log-density of what a wing reads from a file."""
    package = WINGS[wing]
    density = package.FlowDistribution(package.load_flow(path), package.load_base(path)())
    if wing == "numpyro":
        return np.asarray(density.log_prob(x))
    with torch.no_grad():
        return density.log_prob(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("wing", WINGS)
def test_either_wing_reads_what_a_wing_has_written(wing, name, tmp_path):
    package = WINGS[wing]
    path = tmp_path / "flow.safetensors"
    package.save_flow(flow_of(wing), path, base=base_of(wing, name))
    spec, arrays = read_base(path)
    assert (spec.kind, spec.input_dim) == (name, 3)
    for key, value in BASES[name].items():
        np.testing.assert_array_equal(arrays[key], value.astype(np.float32))
    assert read_checkpoint(path)[0] == SPEC
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    one, two = (log_prob(reader, path, x) for reader in WINGS)
    np.testing.assert_allclose(one, two, rtol=2e-5, atol=2e-5)
    in_writer = log_prob(wing, path, x)
    flow, base = flow_of(wing), base_of(wing, name)
    if wing == "pyro":
        with torch.no_grad():
            as_written = package.FlowDistribution(flow, base()).log_prob(torch.from_numpy(x))
    else:
        as_written = package.FlowDistribution(flow, base()).log_prob(x)
    np.testing.assert_array_equal(in_writer, np.asarray(as_written))


@pytest.mark.parametrize("base", ["student_t", "mixture"])
def test_a_guide_of_pyro_is_the_same_distribution_in_numpyro(base, tmp_path):
    def model():
        pyro.sample("x", pdist.Normal(torch.zeros(3), 1.0).to_event(1))

    guide = pyro_flowkit.AutoIAF(model, num_layers=1, hidden_dims=(8,), base=base)
    with pytest.raises(RuntimeError, match="has not seen the model yet"):
        guide.get_base()
    guide()
    path = tmp_path / "guide.safetensors"
    pyro_flowkit.save_flow(guide.get_transform(), path, base=guide.get_base())
    x = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    with torch.no_grad():
        expected = guide.get_posterior().log_prob(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(log_prob("numpyro", path, x), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("base", ["student_t", "mixture"])
def test_a_guide_of_numpyro_is_the_same_distribution_in_pyro(base, tmp_path):
    def model():
        numpyro.sample("x", ndist.Normal(np.zeros(3), 1.0).to_event(1))

    guide = numpyro_flowkit.AutoIAF(model, num_layers=1, hidden_dims=(8,), base=base)
    with pytest.raises(RuntimeError, match="has not seen the model yet"):
        guide.get_base({})
    with handlers.seed(rng_seed=0), handlers.trace() as trace:
        guide()
    params = {name: site["value"] for name, site in trace.items() if site["type"] == "param"}
    path = tmp_path / "guide.safetensors"
    numpyro_flowkit.save_flow(guide.get_transform(params), path, base=guide.get_base(params))
    x = np.random.default_rng(1).normal(size=(50, 3))  # the tests run under JAX's x64 flag
    expected = guide.get_posterior(params).log_prob(x)
    np.testing.assert_allclose(log_prob("pyro", path, x), expected, rtol=1e-10, atol=1e-10)


def test_a_guide_on_a_normal_base_has_none_to_save():
    def model():
        pyro.sample("x", pdist.Normal(0.0, 1.0))

    guide = pyro_flowkit.AutoIAF(model, num_layers=1, hidden_dims=(8,), base="normal")
    guide()
    assert guide.get_base() is None


@pytest.mark.parametrize("wing", WINGS)
def test_a_file_without_a_base_says_so(wing, tmp_path):
    package = WINGS[wing]
    package.save_flow(flow_of(wing), tmp_path / "flow")
    with pytest.raises(CheckpointError, match="holds a flow and no learnt base"):
        package.load_base(tmp_path / "flow")
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        package.load_base(tmp_path / "nothing")


@pytest.mark.parametrize("wing", WINGS)
@pytest.mark.parametrize("base", ["student_t", 3.0, nn.Linear(2, 2)], ids=repr)
def test_only_learnt_bases_are_saved(wing, base, tmp_path):
    package = WINGS[wing]
    with pytest.raises(TypeError, match="base: expected a base of student_t_base or mixture_base"):
        package.save_flow(flow_of(wing), tmp_path / "flow", base=base)
    assert not (tmp_path / "flow").exists()


def test_a_base_of_another_dimension_is_refused(tmp_path):
    base = StudentTBaseSpec(2)
    with pytest.raises(ValueError, match="base: expected 3 coordinates, as the flow has, got 2"):
        write_checkpoint(tmp_path / "flow", SPEC, arrays_for(SPEC), (base, base.arrays()))


GOOD = BASES["mixture"]


@pytest.mark.parametrize(
    ("kind", "arrays", "message"),
    [
        ("uniform", GOOD, "unknown base 'uniform'"),
        ("student_t", GOOD, "cannot have the arrays"),
        ("mixture", {}, "cannot have the arrays"),
        ("mixture", {k: v for k, v in GOOD.items() if k != "logits"}, "expected the arrays"),
        ("mixture", GOOD | {"logits": np.zeros(3)}, "expected the arrays"),
        ("mixture", GOOD | {"locs": np.zeros(3)}, "cannot have the arrays"),
        ("student_t", {"free": np.zeros(3, np.int64)}, "expected dtype float32 or float64"),
        ("student_t", {"free": np.zeros(4)}, "its base has 4 coordinates, its flow 3"),
        ("student_t", {"free": np.zeros(0)}, "cannot have the arrays"),
    ],
)
@pytest.mark.parametrize("wing", WINGS)
def test_a_damaged_base_is_refused(wing, kind, arrays, message, tmp_path):
    path = tmp_path / "flow"
    held = arrays_for(SPEC) | {f"base:{name}": array for name, array in arrays.items()}
    metadata = {"format": FORMAT, "format_version": "1", "spec": SPEC.to_json(), "base": kind}
    save_file(held, path, metadata)
    package = WINGS[wing]
    with pytest.raises(CheckpointError, match=message) as caught:
        package.load_base(path)
    assert str(path) in str(caught.value)


def test_arrays_of_a_base_that_the_file_does_not_announce_are_refused(tmp_path):
    held = arrays_for(SPEC) | {"base:free": np.zeros(3)}
    metadata = {"format": FORMAT, "format_version": "1", "spec": SPEC.to_json()}
    save_file(held, tmp_path / "flow", metadata)
    with pytest.raises(CheckpointError, match="not expected"):
        read_checkpoint(tmp_path / "flow")

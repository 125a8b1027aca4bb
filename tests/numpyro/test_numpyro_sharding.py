"""Arrays and particles on four devices: results are those of one, to rounding."""

import json
import os

import jax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from numpyro_flowkit import AutoIAF, fit_guide
from tests.interpreter import run
from tests.numpyro import models

FOUR = "--xla_force_host_platform_device_count=4"
# JAX 0.7 cannot transpose the split of a law's parameters inside of shard_map.
OLD = jax.__version_info__ < (0, 8)


def on_four_devices(monkeypatch, *names):
    monkeypatch.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} {FOUR}")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    done = run(f"from tests.numpyro.on_devices import main\nmain(*{names!r})")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().split("\n")[-1])


def assert_close(found, tolerance):
    pieces = found.pop("in pieces", True)
    assert pieces
    assert {name: d for name, d in found.items() if not d < tolerance} == {}


def test_flows_map_and_differentiate_arrays_on_several_devices(monkeypatch):
    assert_close(on_four_devices(monkeypatch, "compiled")["compiled"], 1e-12)


@pytest.mark.slow
@pytest.mark.xfail(OLD, reason="split of JAX 0.7")
def test_flows_swept_by_loops_map_and_differentiate_them(monkeypatch):
    assert_close(on_four_devices(monkeypatch, "loops")["loops"], 1e-12)


@pytest.mark.slow
def test_loops_of_xla_serve_where_there_is_no_compiler(monkeypatch):
    monkeypatch.setenv("FLOWKIT_COMPILER", "none")
    assert_close(on_four_devices(monkeypatch, "compiled")["compiled"], 1e-12)


@pytest.mark.slow
def test_fits_do_not_depend_on_the_number_of_devices(monkeypatch):
    assert_close(on_four_devices(monkeypatch, "fits")["fits"], 1e-9)


def one_device(*spec):
    return NamedSharding(Mesh(jax.devices()[:1], ("p",)), PartitionSpec(*spec))


@pytest.mark.slow
def test_a_short_fit_and_scores_do_not_depend_on_it_and_unequal_pieces_are_refused(monkeypatch):
    names = ("short fits", "scores", "refusals")
    fits, scores, told = on_four_devices(monkeypatch, *names).values()
    assert_close(fits, 1e-9)
    assert_close(scores, 1e-12)
    assert [text.partition(",")[0] for text in told] == [
        "num_particles: expected a multiple of 4",
        "chunk_size: expected a multiple of 4",
    ]


@pytest.mark.parametrize(
    ("sharding", "error", "message"),
    [
        ("p", TypeError, "particle_sharding: expected a jax.sharding.NamedSharding, got str"),
        (
            SingleDeviceSharding(jax.devices()[0]),
            TypeError,
            "expected a jax.sharding.NamedSharding, got SingleDeviceSharding",
        ),
        (
            one_device("p", None),
            ValueError,
            "particle_sharding: expected the spec of one dimension",
        ),
    ],
)
def test_other_shardings_are_refused(sharding, error, message):
    with pytest.raises(error, match=message):
        fit_guide(models.one_latent, AutoIAF(models.one_latent), particle_sharding=sharding)

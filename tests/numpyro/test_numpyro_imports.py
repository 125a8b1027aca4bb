"""What importing numpyro_flowkit loads, and what it leaves alone."""

import pickle

import jax
import numpy as np
import pytest

import numpyro_flowkit as fk
from tests.interpreter import global_streams, run
from tests.numpyro import models
from tests.numpyro.models import SMALL, started


def test_importing_it_loads_no_part_of_the_other_wing_and_compiles_nothing():
    done = run(
        """
        import jax
        compiled = []
        jax.monitoring.register_event_duration_secs_listener(lambda *a, **k: compiled.append(a))
        import numpyro_flowkit
        loaded = {name.partition(".")[0] for name in sys.modules}
        print(sorted(loaded & {"torch", "pyro", "pyro_flowkit", "functorch"}))
        print(sorted(loaded & {"matplotlib", "sklearn", "arviz", "flax", "funsor"}))
        print(compiled, jax.config.jax_enable_x64)
        """
    )
    assert (done.returncode, done.stdout.split("\n")[:3]) == (0, ["[]", "[]", "[] False"]), (
        done.stderr
    )


def test_it_works_where_torch_is_not_installed():
    done = run(
        """
        import jax, numpy, numpyro_flowkit
        init = numpyro_flowkit.maf(2, num_layers=1, hidden_dims=(4,))
        rows = numpy.random.default_rng(0).normal(size=(20, 2))
        flow = numpyro_flowkit.fit_density(init, rows, num_epochs=1, progress=False).flow
        print(numpyro_flowkit.FlowDistribution(flow).sample(jax.random.key(0), (3,)).shape)
        """,
        blocked=("torch", "pyro", "pyro_flowkit"),
    )
    assert (done.returncode, done.stdout.strip()) == (0, "(3, 2)"), done.stderr


@pytest.mark.parametrize("missing", ["jax", "numpyro", "optax"])
def test_without_its_framework_it_names_the_command_that_installs_it(missing):
    done = run("import numpyro_flowkit", blocked=(missing,))
    last = done.stderr.strip().split("\n")[-1]
    assert last.startswith("ImportError: ")
    assert 'pip install "ppl-flowkit[numpyro]"' in last
    assert repr(missing) in last


def test_a_picture_without_matplotlib_names_the_command_that_installs_it():
    done = run(
        """
        from flowkit_core.fitting import FitResult
        import numpyro_flowkit
        result = FitResult(None, (2.0, 1.0), (), 1, "epochs", 0)
        print(result.best_loss)
        result.plot()
        """,
        blocked=("matplotlib",),
    )
    assert done.stdout.strip() == "1.0"
    assert 'pip install "ppl-flowkit[plot]"' in done.stderr.strip().split("\n")[-1]


def test_a_pickled_guide_and_its_parameters_serve_in_another_process(tmp_path):
    guide, params = started("iaf", models.hierarchy)
    key_data = np.array([0, 7], np.uint32)
    draws = guide.sample_posterior(key_data, params)
    expected = {site: float(value.sum()) for site, value in draws.items()}
    (tmp_path / "guide").write_bytes(pickle.dumps((guide, params)))
    done = run(
        f"""
        import pickle, pathlib, jax, numpy
        jax.config.update("jax_enable_x64", True)
        guide, params = pickle.loads(pathlib.Path({str(tmp_path / "guide")!r}).read_bytes())
        draws = guide.sample_posterior(numpy.array([0, 7], numpy.uint32), params)
        for site, value in draws.items():
            print(site, float(value.sum()))
        """
    )
    assert done.returncode == 0, done.stderr
    got = dict(line.split() for line in done.stdout.strip().split("\n"))
    assert {site: float(value) for site, value in got.items()} == pytest.approx(expected, rel=1e-12)


def test_every_public_name_exists_once():
    assert [name for name in fk.__all__ if not hasattr(fk, name)] == []
    assert len(fk.__all__) == len(set(fk.__all__))


def use_everything(folder):
    flow = fk.maf(3, mixing="random", **SMALL)(jax.random.key(0))
    fk.save_flow(flow, folder / "flow")
    fk.load_flow(folder / "flow")
    fk.fit_density(flow, np.linspace(0, 1, 60).reshape(20, 3), num_epochs=1, progress=False)
    guide, params = started("iaf", models.hierarchy)
    guide.quantiles(params, [0.5])
    guide.sample_posterior(jax.random.key(0), params)


def test_nothing_draws_from_a_global_stream(tmp_path):
    before = global_streams()
    use_everything(tmp_path)
    assert global_streams() == before


def test_the_key_alone_decides_the_weights():
    init = fk.maf(3, **SMALL)
    one, two, other = (init(jax.random.key(k)).named_arrays() for k in (1, 1, 2))
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])
    assert any((one[name] != other[name]).any() for name in one)

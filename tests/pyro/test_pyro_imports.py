"""What importing pyro_flowkit loads, and what it leaves alone."""

import pytest
import torch

import pyro_flowkit as fk
from tests.interpreter import global_streams, run
from tests.pyro import models
from tests.pyro.helpers import RECIPES, SMALL, points


def test_importing_it_loads_no_part_of_the_other_wing():
    done = run(
        """
        import pyro_flowkit
        loaded = {name.partition(".")[0] for name in sys.modules}
        print(sorted(loaded & {"jax", "jaxlib", "numpyro", "numpyro_flowkit", "optax"}))
        print(sorted(loaded & {"matplotlib", "sklearn", "arviz"}))
        """
    )
    assert (done.returncode, done.stdout.split("\n")[:2]) == (0, ["[]", "[]"]), done.stderr


def test_it_works_where_jax_is_not_installed():
    done = run(
        """
        import torch, pyro_flowkit
        flow = pyro_flowkit.maf(2, num_layers=1, hidden_dims=(4,))
        pyro_flowkit.fit_density(flow, torch.randn(20, 2), num_epochs=1, progress=False)
        print(tuple(pyro_flowkit.FlowDistribution(flow).sample((3,)).shape))
        """,
        blocked=("jax", "jaxlib", "numpyro", "optax", "numpyro_flowkit"),
    )
    assert (done.returncode, done.stdout.strip()) == (0, "(3, 2)"), done.stderr


@pytest.mark.parametrize("missing", ["torch", "pyro"])
def test_without_torch_or_pyro_it_names_the_command_that_installs_them(missing):
    done = run("import pyro_flowkit", blocked=(missing,))
    last = done.stderr.strip().split("\n")[-1]
    assert last.startswith("ImportError: ")
    assert 'pip install "ppl-flowkit[pyro]"' in last
    assert repr(missing) in last


def test_a_picture_without_matplotlib_names_the_command_that_installs_it():
    done = run(
        """
        import torch, pyro_flowkit
        flow = pyro_flowkit.lu_linear(2)
        result = pyro_flowkit.fit_density(flow, torch.randn(20, 2), num_epochs=1, progress=False)
        result.plot()
        """,
        blocked=("matplotlib",),
    )
    assert 'pip install "ppl-flowkit[plot]"' in done.stderr.strip().split("\n")[-1]


def test_the_core_imports_neither_framework():
    done = run(
        """
        import flowkit_core, flowkit_core.recipes, flowkit_core.checkpoint, flowkit_core.fitting
        import flowkit_core.plots, flowkit_core.sweep
        print(flowkit_core.recipes.maf(3).input_dim)
        """,
        blocked=("torch", "pyro", "jax", "numpyro", "matplotlib"),
    )
    assert (done.returncode, done.stdout.strip()) == (0, "3"), done.stderr


def all_streams():
    return (torch.random.get_rng_state().tolist(), *global_streams())


@pytest.mark.parametrize("name", RECIPES)
def test_building_draws_from_no_global_stream(name):
    before = all_streams()
    RECIPES[name](4)
    assert all_streams() == before


def test_saving_loading_and_copying_draw_from_no_global_stream(tmp_path):
    flow = fk.maf(3, mixing="random", **SMALL)
    before = all_streams()
    fk.save_flow(flow, tmp_path / "flow")
    fk.load_flow(tmp_path / "flow")
    assert all_streams() == before


def test_fitting_draws_from_no_global_stream():
    before = all_streams()
    fk.fit_density(fk.realnvp(3, **SMALL), points(40, 3), num_epochs=2, progress=False)
    assert all_streams() == before


def test_quantiles_and_seeded_draws_take_from_no_global_stream():
    guide = fk.AutoIAF(models.hierarchy, **SMALL)
    guide()
    before = all_streams()
    guide.quantiles([0.5])
    guide.median()
    guide.sample_posterior(5, generator=torch.Generator().manual_seed(0))
    assert all_streams() == before


def test_the_seed_alone_decides_the_weights():
    one, two, other = (fk.maf(3, seed=s, **SMALL).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert any((one[k] != other[k]).any() for k in one)

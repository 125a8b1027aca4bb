"""Pictures of the wings' own flows and densities show what those compute."""

import numpy as np
import pytest

from flowkit_core import recipes
from tests.wings import WINGS

every_wing = pytest.mark.parametrize("wing", WINGS.values(), ids=WINGS)
SPEC = recipes.realnvp(2, num_layers=2, hidden_dims=(4,), context_dim=1)


def random_flow(wing, rng, spec=SPEC):
    arrays = {a.name: rng.normal(size=a.shape).astype(np.float32) for a in spec.arrays()}
    return wing.build(spec, arrays)


@every_wing
def test_a_flow_warps_the_grid_as_it_maps_its_points(wing, rng, tmp_path):
    flow = random_flow(wing, rng).condition(wing.array(np.array([0.5], np.float32)))
    figure = wing.package.warped_grid(flow, num_lines=3, extent=1.5, path=tmp_path / "grid.png")
    left, right = figure.axes
    z, x = (axes.lines[1].get_xydata() for axes in (left, right))
    np.testing.assert_allclose(x, wing.numpy(flow(wing.array(z.astype(np.float32)))), rtol=1e-4)
    assert (tmp_path / "grid.png").stat().st_size > 0


@every_wing
def test_a_density_is_drawn_with_its_own_samples_inside(wing, rng):
    flow = wing.fresh(recipes.lu_linear(2), np.float32)
    samples = wing.array(rng.normal(size=(2000, 2)).astype(np.float32))
    figure = wing.package.density_with_samples(wing.package.FlowDistribution(flow), samples)
    inside = [int(part.split("region: ")[1].split()[0]) for part in title(figure).split(",")]
    assert np.abs(np.array(inside) - [50, 95]).max() <= 3


def title(figure):
    return figure.axes[0].get_title()


@every_wing
def test_other_flows_are_refused(wing, rng):
    with pytest.raises(TypeError, match="flow: expected a flow, got str"):
        wing.package.warped_grid("flow")
    with pytest.raises(ValueError, match="expected one of 2 coordinates, got 3"):
        wing.package.warped_grid(wing.fresh(recipes.lu_linear(3)))
    with pytest.raises(ValueError, match="context: this flow needs one"):
        wing.package.warped_grid(random_flow(wing, rng))


@every_wing
def test_other_densities_are_refused(wing):
    samples = wing.array(np.eye(2))
    with pytest.raises(TypeError, match="distribution: expected one, got str"):
        wing.package.density_with_samples("density", samples)
    three = wing.package.FlowDistribution(wing.fresh(recipes.lu_linear(3)))
    with pytest.raises(ValueError, match=r"expected batch shape \(\) and event shape \(2,\)"):
        wing.package.density_with_samples(three, samples)
    two = wing.package.FlowDistribution(wing.fresh(recipes.lu_linear(2)))
    with pytest.raises(ValueError, match="samples: expected shape"):
        wing.package.density_with_samples(two, wing.array(np.ones(2)))

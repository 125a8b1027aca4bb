"""Sweep, fixed point and the choice between them."""

import warnings

import pytest
import torch

import pyro_flowkit as fk
from flowkit_core.reports import ConvergenceWarning
from pyro_flowkit.laws import Affine
from pyro_flowkit.transforms import MaskedAutoregressive
from pyro_flowkit.transforms.iteration import Iteration
from pyro_flowkit.transforms.solver import block_depth, choose_inverse
from tests.pyro.helpers import OwnMaskedNet, large, points
from tests.pyro.reference import loop


def test_auto_takes_the_fixed_point_on_accelerators_with_many_coordinates():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert choose_inverse("auto", input_dim=1000, device=cpu) == "sweep"
    assert choose_inverse("auto", input_dim=4, device=cuda) == "sweep"
    assert choose_inverse("auto", input_dim=64, device=cuda) == "fixed_point"
    for asked in ("sweep", "fixed_point"):
        assert choose_inverse(asked, input_dim=64, device=cuda) == asked
        assert choose_inverse(asked, input_dim=4, device=cpu) == asked


def test_blocks_shrink_as_the_arithmetic_grows():
    spec = fk.maf(64, num_layers=1, hidden_dims=(128, 128)).layers[0].conditioner.spec
    depths = [block_depth(spec, "sweep", batch) for batch in (1, 64, 1024, 10**5, 10**9)]
    assert depths == sorted(depths, reverse=True)
    assert (depths[0], depths[-1]) == (64, 1)
    assert block_depth(spec, "fixed_point", 10**9) == 64


def test_a_network_of_ones_own_cannot_be_swept():
    net = OwnMaskedNet(4, 2)
    with pytest.raises(ValueError, match=r'inverse: "sweep" needs a MADE.*OwnMaskedNet'):
        MaskedAutoregressive(net, Affine(), (0, 1, 2, 3), inverse="sweep")
    layer = MaskedAutoregressive(net, Affine(), (0, 1, 2, 3), inverse="fixed_point").double()
    x, _ = layer.forward_and_log_det(points(5, 4))
    torch.testing.assert_close(x, loop(layer, points(5, 4), None, (0, 1, 2, 3))[0])


def test_an_unknown_way_is_refused_by_the_layer_too():
    with pytest.raises(ValueError, match=r"inverse: .*got 'newton'"):
        MaskedAutoregressive(OwnMaskedNet(4, 2), Affine(), (0, 1, 2, 3), inverse="newton")


def test_a_chain_in_which_every_step_needs_the_last_is_exact_after_all_of_them():
    """One iteration settles one coordinate here, so none may be missing."""
    flow = fk.maf(12, num_layers=1, hidden_dims=(), inverse="fixed_point").double()
    net = flow.layers[0].conditioner
    with torch.no_grad():
        net.weight_0.zero_()
        for j in range(1, 12):
            net.weight_0[j, j - 1] = 0.9  # shift of position j
    report = fk.round_trip(flow, points(6, 12))
    assert report.layers[0].iterations == 12
    assert report.residual < 1e-14


class NotAutoregressive(torch.nn.Module):
    """Every coordinate's parameters depend on every coordinate."""

    def forward(self, inputs, context=None):
        shift = inputs.flip(-1) * 3
        return torch.cat([shift, torch.zeros_like(shift)], -1)


def test_a_fixed_point_that_has_not_converged_says_so():
    layer = MaskedAutoregressive(NotAutoregressive(), Affine(), (0, 1, 2, 3)).double()
    message = r"50 of 50 points still move, by up to .*, after 4 iterations"
    with pytest.warns(ConvergenceWarning, match=message):
        layer.forward_and_log_det(points(50, 4))
    with pytest.warns(ConvergenceWarning):
        assert not fk.round_trip(layer, points(50, 4)).converged


def test_a_healthy_fixed_point_is_silent_and_so_is_one_with_nan():
    flow = large(fk.maf(6, num_layers=2, hidden_dims=(30,), inverse="fixed_point"))
    z = points(50, 6)
    z[3] = float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, log_det = flow.forward_and_log_det(z)
    assert x[3].isnan().all()
    assert log_det[3].isnan()
    others = torch.arange(50) != 3
    alone, _ = flow.forward_and_log_det(z[others])
    torch.testing.assert_close(x[others], alone, rtol=1e-12, atol=1e-12)


def test_values_that_overflow_on_the_way_do_not_spoil_what_is_right():
    """The start is far off: the first iterate of the last coordinate is infinite."""
    flow = fk.maf(3, num_layers=1, hidden_dims=(), law="affine", inverse="fixed_point").double()
    net = flow.layers[0].conditioner
    with torch.no_grad():
        net.weight_0[1, 0] = 1e308  # shift of position 1
        net.weight_0[2, 1] = 1e10  # shift of position 2
    z = torch.tensor([[10.0, 1.0, 1.0], [0.0, 1.0, 1.0]]).double()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, _ = flow.forward_and_log_det(z)
    torch.testing.assert_close(x[1], torch.tensor([0.0, 1.0, 1e10 + 1]).double())


def test_an_iteration_is_settled_when_every_point_is():
    start = torch.tensor([[1.0, 1e-6], [2.0, 2e-6]]).double()
    watch = Iteration(start)
    moved = start.clone()
    moved[0, 1] += 1e-9  # a thousandth of that small point
    assert not watch.settled(start, moved)
    assert watch.settled(moved, moved + 1e-22)
    assert not Iteration(start).settled(start, start * float("nan"))
    assert Iteration(start[:, :0]).settled(start[:, :0], start[:, :0])

"""The compiled sweep: the same numbers as in Python, and a quiet way out where it cannot be."""

import os
import stat

import pytest
import torch

import pyro_flowkit as fk
from flowkit_core.native import library, plan
from flowkit_core.specs import ACTIVATIONS as ACTIVATION_NAMES
from pyro_flowkit.native import kernel_status
from pyro_flowkit.transforms.made_solver import MADESolver
from tests.pyro.helpers import gradients, large, points
from tests.pyro.reference import sequential

needs_compiler = pytest.mark.skipif(
    library.kernel("float64") is None, reason=f"sweeps are {kernel_status()}"
)
both = pytest.mark.parametrize("recipe", [fk.maf, fk.iaf])


@pytest.fixture
def without_compiler(monkeypatch):
    monkeypatch.setenv("FLOWKIT_COMPILER", "none")


def results(flow, v, context=None):
    """Outputs, and gradients of an uneven functional of them."""
    v = v.clone().requires_grad_()
    u, log_det = sequential(flow)(v, context)
    weights = torch.arange(1.0, 1 + u.numel(), dtype=u.dtype).reshape(u.shape).cos()
    loss = (u * weights).sum() + (log_det**2).sum() / 2
    return {"u": u.detach(), "log_det": log_det.detach(), **gradients(loss, flow, {"v": v})}


def assert_same(got, expected, tolerance):
    assert got.keys() == expected.keys()
    for name, reference in expected.items():
        size = float(reference.abs().max()) if reference.numel() else 0.0
        error = float((got[name] - reference).abs().max()) if reference.numel() else 0.0
        assert error <= tolerance * max(size, 1e-3), f"{name}: {error:.1e} of {size:.1e}"


def used(flow):
    """Whether the first layer of a flow runs compiled."""
    layer = flow.layers[0]
    solver = layer.solver(layer._others(None), torch.device("cpu"))
    return solver._compiled(points(2, layer.input_dim, dtype=layer.free.dtype), None) is not None


@needs_compiler
def test_it_is_what_runs_where_there_is_a_compiler(monkeypatch):
    assert kernel_status().startswith("compiled: ")
    flow = fk.maf(4, num_layers=1)
    assert used(flow)
    assert not used(fk.maf(4, num_layers=1, inverse="fixed_point"))
    assert not used(fk.maf(4, num_layers=1, hidden_dims=(8,), residual=True))
    monkeypatch.setenv("FLOWKIT_COMPILER", "none")
    assert kernel_status() == "not compiled: switched off by FLOWKIT_COMPILER=none"
    assert not used(flow)


@needs_compiler
@both
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
def test_values_and_gradients_are_those_of_python(recipe, activation, dtype, monkeypatch):
    flow = large(recipe(6, num_layers=2, hidden_dims=(13, 9), activation=activation), dtype=dtype)
    v = points(50, 6, dtype=dtype)
    got = results(flow, v)
    monkeypatch.setenv("FLOWKIT_COMPILER", "none")
    assert_same(got, results(flow, v), 3e-4 if dtype == torch.float32 else 1e-11)


@needs_compiler
@both
@pytest.mark.parametrize("count", [0, 1, 7, 16, 31, 32, 33, 64, 65, 200])
def test_any_number_of_points_fills_the_tiles(recipe, count, monkeypatch):
    flow = large(recipe(5, num_layers=1, hidden_dims=(11,), context_dim=2))
    v, context = points(count, 5), points(count, 2, seed=4)
    got = results(flow, v, context)
    monkeypatch.setenv("FLOWKIT_COMPILER", "none")
    assert_same(got, results(flow, v, context), 1e-11)


@needs_compiler
@both
def test_threads_share_the_points(recipe, monkeypatch):
    from pyro_flowkit.native import compiled

    flow = large(recipe(5, num_layers=2, hidden_dims=(11,)))
    v = points(1000, 5)
    alone = results(flow, v)
    monkeypatch.setattr(compiled, "MULTIPLICATIONS_PER_THREAD", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert_same(results(flow, v), alone, 1e-14)
    finally:
        torch.set_num_threads(before)


@needs_compiler
def test_weights_and_points_that_are_not_dense(monkeypatch):
    flow = large(fk.maf(5, num_layers=1, hidden_dims=(9, 8)))
    expected = results(flow, points(12, 5))
    with torch.no_grad():
        for parameter in flow.parameters():
            if parameter.dim() == 2:
                parameter.data = parameter.t().contiguous().t()
    strided = points(12, 5).t().contiguous().t()
    assert not strided.is_contiguous()
    assert_same(results(flow, strided), expected, 1e-14)


@needs_compiler
@both
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_bad_point_spoils_itself_alone(recipe, bad):
    flow = large(recipe(4, num_layers=2, hidden_dims=(9,)))
    v = points(40, 4)
    clean_u, clean_l = (t.detach() for t in sequential(flow)(v))
    v[7, 1] = bad
    u, log_det = (t.detach() for t in sequential(flow)(v))
    others = torch.arange(40) != 7
    assert torch.equal(u[others], clean_u[others])
    assert torch.equal(log_det[others], clean_l[others])
    assert not torch.isfinite(u[7]).all()


@needs_compiler
def test_extreme_log_scales_neither_overflow_early_nor_lose_the_sign():
    flow = fk.maf(1, num_layers=1, hidden_dims=(), law="affine").double()
    with torch.no_grad():
        for value in (-800.0, -700.0, -30.0, 0.0, 30.0, 700.0, 720.0):
            flow.layers[0].free.fill_(value)
            x, log_det = flow.forward_and_log_det(torch.tensor([[-2.0]]).double())
            expected = -2 * torch.tensor(value, dtype=torch.float64).exp()
            torch.testing.assert_close(x[0, 0], expected, rtol=1e-13, atol=1e-300)
            assert float(log_det) == value


def test_without_a_compiler_everything_works(without_compiler):
    flow = large(fk.maf(5, num_layers=2, hidden_dims=(9,)))
    x, log_det = flow.forward_and_log_det(points(6, 5))
    z, inverse_log_det = flow.inverse_and_log_det(x)
    torch.testing.assert_close(z, points(6, 5), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_det, -inverse_log_det, rtol=1e-10, atol=1e-10)


def test_a_compiler_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("FLOWKIT_COMPILER", "no-such-compiler")
    assert "no C compiler found (looked for no-such-compiler)" in kernel_status()
    assert library.kernel("float64") is None


def fake_compiler(folder, script):
    file = folder / "own-cc"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


@pytest.mark.skipif(os.name != "posix", reason="the fake compiler is a shell script")
@pytest.mark.parametrize(
    "script", ["exit 1", 'case "$1" in --version) echo own 1.0;; *) exit 2;; esac'],
    ids=["fails at once", "fails to compile"],
)  # fmt: skip
def test_a_compiler_that_fails_is_left_alone(script, tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWKIT_COMPILER", fake_compiler(tmp_path, script))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernel_status().startswith("not compiled: ")
    assert "own-cc" in kernel_status()
    fk.maf(3, num_layers=1, hidden_dims=(5,))(torch.ones(2, 3))


@needs_compiler
def test_the_library_is_compiled_once_into_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library._outcome.cache_clear()
    library.load("float32")
    (built,) = (tmp_path / "ppl-flowkit").iterdir()  # nothing else is left behind
    made = built.stat().st_mtime_ns
    library._outcome.cache_clear()
    library.load("float32")
    assert built.stat().st_mtime_ns == made
    library._outcome.cache_clear()


@needs_compiler
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    library._outcome.cache_clear()
    assert library.load("float32") is not None
    library._outcome.cache_clear()


def test_dtypes_without_a_library_say_so():
    assert library.kernel("bfloat16") is None
    with pytest.raises(library.KernelUnavailableError, match="bfloat16"):
        library.load("bfloat16")


def test_activations_stand_in_the_order_of_the_sources():
    text = (library.files("flowkit_core.native") / "tile.h").read_text()
    enum = text.partition("enum { ")[2].partition(" }")[0]
    assert enum == ", ".join(name.upper() for name in plan.ACTIVATIONS)
    assert set(plan.ACTIVATIONS) == set(ACTIVATION_NAMES)


def test_the_way_back_needs_no_way_there():
    """`forward_and_score` of an IAF pulls at a point that was never solved for."""
    layer = large(fk.iaf(4, num_layers=1, hidden_dims=(7,))).layers[0]
    u = points(3, 4)
    solver = layer.solver(layer._others(None), u.device)
    assert isinstance(solver, MADESolver)
    v, _ = layer.parallel(u, layer._others(None))
    for a, b in zip(solver.kept_at(u), solver.solve(v.detach()).kept, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)

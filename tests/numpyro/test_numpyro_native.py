"""Sweeps compiled from C: the same numbers as XLA's, and a quiet way out where there are none."""

import functools

import jax
import jax.numpy as jnp
import pytest

import numpyro_flowkit as fk
from flowkit_core.native import library
from flowkit_core.specs import ACTIVATIONS
from numpyro_flowkit.native import kernel_status
from numpyro_flowkit.native.compiled import compiled_sweep
from tests.numpyro.helpers import assert_close, large, multiplications, points

needs_compiler = pytest.mark.skipif(
    library.kernel("float64", jax.ffi.include_dir()) is None, reason=f"sweeps are {kernel_status()}"
)
both = pytest.mark.parametrize("recipe", [fk.maf, fk.iaf])


def sequential(flow):
    return flow.forward_and_log_det if flow.sequential_forward else flow.inverse_and_log_det


def functional(flow, v, context):
    u, log_det = sequential(flow)(v, context)
    return (jnp.cos(jnp.arange(u.size).reshape(u.shape)) * u).sum() + (log_det**2).sum() / 2


def results(flow, v, context=None):
    """Outputs, and gradients of an uneven functional of them, to weights, v and context."""
    gradients = jax.grad(functional, argnums=(0, 1) if context is None else (0, 1, 2))
    return jax.tree.leaves((sequential(flow)(v, context), gradients(flow, v, context)))


def by_xla(function, monkeypatch):
    """What ``function`` yields without a compiler; programs are forgotten before and after."""
    with monkeypatch.context() as patch:
        patch.setenv("FLOWKIT_COMPILER", "none")
        jax.clear_caches()
        found = function()
    jax.clear_caches()
    return found


def assert_same(got, expected, tolerance):
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        size = max(float(jnp.abs(b).max()), 1e-3) if b.size else 1.0
        assert_close(a / size, b / size, 0, tolerance)


def used(layer, dtype=jnp.float64):
    v = jnp.zeros((layer.input_dim, 2), dtype)
    return compiled_sweep(layer._parallel_law, layer.conditioner, layer.free, v, None) is not None


@needs_compiler
def test_it_is_what_runs_where_there_is_a_compiler(monkeypatch):
    assert kernel_status().startswith("compiled: ")
    plain = large(fk.maf(4, num_layers=1)).layers[0]
    assert used(plain)
    assert not used(plain, jnp.float32)  # not all of one dtype
    assert not used(large(fk.maf(4, num_layers=1, hidden_dims=(8,), residual=True)).layers[0])
    assert not used(large(fk.maf(4, num_layers=1, law="spline")).layers[0])
    monkeypatch.setenv("FLOWKIT_COMPILER", "none")
    assert kernel_status() == "not compiled: switched off by FLOWKIT_COMPILER=none"
    assert not used(plain)


@needs_compiler
@both
@pytest.mark.parametrize("law", ["affine", pytest.param("additive", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "hidden_dims", [*(pytest.param(h, marks=pytest.mark.slow) for h in ((), (7,))), (13, 9)]
)
def test_values_and_gradients_are_those_of_xla(recipe, law, hidden_dims, monkeypatch):
    flow = large(recipe(6, num_layers=2, hidden_dims=hidden_dims, law=law, context_dim=2))
    run = functools.partial(results, flow, points(50, 6), points(50, 2, seed=4))
    assert_same(run(), by_xla(run, monkeypatch), 1e-11)


@needs_compiler
@pytest.mark.parametrize(
    "activation",
    [a if a == "silu" else pytest.param(a, marks=pytest.mark.slow) for a in ACTIVATIONS],
)
def test_every_activation(activation, monkeypatch):
    flow = large(fk.maf(5, num_layers=1, hidden_dims=(9, 8), activation=activation))
    run = functools.partial(results, flow, points(20, 5))
    assert_same(run(), by_xla(run, monkeypatch), 1e-11)


@needs_compiler
def test_single_precision(monkeypatch):
    flow = jax.tree.map(jnp.float32, large(fk.maf(6, num_layers=2, hidden_dims=(13, 9))))
    run = functools.partial(results, flow, points(50, 6).astype(jnp.float32))
    got = run()
    assert all(leaf.dtype == jnp.float32 for leaf in got)
    assert_same(got, by_xla(run, monkeypatch), 3e-4)


@needs_compiler
@pytest.mark.parametrize(
    "count", [0, 1, 17, *(pytest.param(n, marks=pytest.mark.slow) for n in (15, 16, 33))]
)
def test_any_number_of_points_fills_the_tiles(count, monkeypatch):
    flow = large(fk.maf(5, num_layers=1, hidden_dims=(11,)))
    run = functools.partial(results, flow, points(count, 5))
    assert_same(run(), by_xla(run, monkeypatch), 1e-11)


@needs_compiler
@both
def test_more_steps_than_are_taken_back_together(recipe, monkeypatch):
    flow = large(recipe(21, num_layers=1, hidden_dims=(30, 17)))
    run = functools.partial(results, flow, points(9, 21))
    assert_same(run(), by_xla(run, monkeypatch), 1e-11)


@needs_compiler
@pytest.mark.parametrize("hidden_dims", [(), (30, 17)])
def test_scores_are_those_of_xla(hidden_dims, monkeypatch):
    flow, z = large(fk.iaf(21, num_layers=2, hidden_dims=hidden_dims)), points(33, 21)
    run = functools.partial(flow.forward_and_score, z, -z)
    assert_same(run(), by_xla(run, monkeypatch), 1e-11)


@needs_compiler
def test_a_score_takes_the_pass_that_gives_the_point():
    flow, z = large(fk.iaf(6, num_layers=2, hidden_dims=(13, 9))), points(5, 6)
    one_pass = multiplications(flow.forward_and_log_det, z)
    assert multiplications(lambda z: flow.forward_and_score(z, -z), z) == one_pass > 0


def calls(function, *args):
    """How often the compiled program calls the library's sweep."""
    return jax.jit(function).lower(*args).as_text().count("custom_call @flowkit_sweep")


@needs_compiler
def test_vmap_over_points_is_one_call_for_all_of_them(monkeypatch):
    flow, v, context = large(fk.iaf(4, num_layers=1, context_dim=2)), points(6, 4), points(3, 2)
    each = jax.vmap(jax.vmap(flow.inverse_and_log_det, (0, None)), (None, 0))
    text = jax.jit(each).lower(v, context).as_text()
    assert text.count("custom_call @flowkit_sweep") == 1
    assert "stablehlo.while" not in text
    u, log_det = each(v, context)
    wide = [jnp.broadcast_to(a, (3, 6, a.shape[-1])) for a in (v, context[:, None])]
    expected = flow.inverse_and_log_det(*wide)
    assert_close(u, expected[0], 1e-12)
    assert_close(log_det, expected[1], 1e-12)


@pytest.mark.slow
@needs_compiler
def test_a_scan_differentiated_twice_keeps_the_rule(monkeypatch):
    """``custom_jvp`` would lose it here, and a custom call has no derivative of its own."""
    layers = [large(fk.maf(3, num_layers=1, hidden_dims=(6,)), seed=k) for k in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)

    def run(v):
        def advance(carry, flow):
            return flow.forward_and_log_det(carry)[0], None

        return (jax.lax.scan(advance, v, stacked)[0] ** 2).sum()

    def unrolled(v):
        for flow in layers:
            v = flow.forward_and_log_det(v)[0]
        return (v**2).sum()

    v = points(1, 3)[0]
    assert_close(jax.hessian(run)(v), jax.hessian(unrolled)(v), 1e-10)
    expected = by_xla(lambda: jax.hessian(unrolled)(v), monkeypatch)
    assert_close(jax.hessian(run)(v), expected, 1e-10)


@needs_compiler
@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_a_bad_point_spoils_itself_alone(bad):
    flow, v = large(fk.maf(4, num_layers=2, hidden_dims=(9,))), points(40, 4)
    clean = flow.forward_and_log_det(v)
    found = flow.forward_and_log_det(v.at[7, 1].set(bad))
    others = jnp.arange(40) != 7
    for a, b in zip(found, clean, strict=True):
        assert jnp.array_equal(a[others], b[others])
    assert not jnp.isfinite(found[0][7]).all()


@needs_compiler
def test_it_stays_within_a_program_that_was_compiled(monkeypatch):
    """A program keeps what it was compiled with; what is compiled later goes the other way."""
    flow, v = large(fk.maf(4, num_layers=1, hidden_dims=(9,))), points(5, 4)
    expected = flow.forward_and_log_det(v)
    assert calls(flow.forward_and_log_det, v) == 1

    def again():
        assert calls(flow.forward_and_log_det, v) == 0
        return flow.forward_and_log_det(v)

    assert_same(by_xla(again, monkeypatch), expected, 1e-12)

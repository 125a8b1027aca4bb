"""Derivatives of every order and mode through the sequential direction, by both methods.

The reference is autodiff through the plain loop over the coordinates, in float64.
"""

import jax
import jax.numpy as jnp
import pytest

import numpyro_flowkit as fk
from tests.numpyro.helpers import assert_same_gradients, layer, points, stack
from tests.numpyro.test_numpyro_sequential import functional, loop, sequential

pytestmark = pytest.mark.usefixtures("both_sweeps")

# Enough steps for several chunks; widths that leave uneven steps; residual streams; a context.
CASES = {
    "chunks": (fk.maf, 34, {"hidden_dims": (40, 35), "activation": "tanh"}),
    "context": (fk.iaf, 5, {"hidden_dims": (9, 7), "activation": "silu", "context_dim": 2}),
    "residual": (fk.maf, 4, {"hidden_dims": (6, 6), "residual": True, "activation": "tanh"}),
    "no hidden layer": (fk.maf, 4, {"hidden_dims": ()}),
    "one coordinate": (fk.maf, 1, {"hidden_dims": (3,), "context_dim": 2, "activation": "tanh"}),
}
METHODS = ("sweep", pytest.param("fixed_point", marks=pytest.mark.slow))
every_case = pytest.mark.parametrize(
    "case", [c if c == "context" else pytest.param(c, marks=pytest.mark.slow) for c in CASES]
)
every_method = pytest.mark.parametrize("method", METHODS)


def build(case, method):
    recipe, dim, kwargs = CASES[case]
    flow = layer(recipe, dim, mixing="random", seed=4, inverse=method, **kwargs)
    context = points(3, flow.context_dim, seed=8) if flow.context_dim else None
    return flow, points(3, dim), context


def scalar(function):
    return lambda *args: functional(function)(*args)[0]


@every_case
@every_method
def test_grad_jvp_and_vjp_of_grad(case, method):
    flow, v, context = build(case, method)
    args = (flow, v) if context is None else (flow, v, context)
    tangents = jax.tree.map(lambda a: points(*a.shape, seed=3), args)
    wanted = tuple(range(len(args)))

    @jax.jit
    def derivatives(args, tangents):
        out = []
        for function in (sequential, loop):
            grad = jax.grad(scalar(function), wanted)
            pushed = jax.jvp(function, args, tangents)
            forward_over_reverse = jax.jvp(lambda *a, grad=grad: grad(*a), args, tangents)[1]

            def dot(*a, grad=grad):
                pairs = zip(jax.tree.leaves(grad(*a)), jax.tree.leaves(tangents), strict=True)
                return sum((g * t).sum() for g, t in pairs)

            reverse_over_reverse = jax.grad(dot, wanted)(*args)
            out.append((grad(*args), pushed, forward_over_reverse, reverse_over_reverse))
        return out

    got, expected = derivatives(args, tangents)
    for one, other in zip(got, expected, strict=True):
        assert_same_gradients(one, other, 1e-10)


@every_method
@pytest.mark.parametrize(
    "case",
    [
        "context",
        *(pytest.param(c, marks=pytest.mark.slow) for c in ("residual", "no hidden layer")),
    ],
)
def test_jacobians_and_hessians_with_respect_to_the_points(case, method):
    flow, v, context = build(case, method)

    @jax.jit
    def matrices(flow, v, context):
        out = []
        for function in (sequential, loop):

            def of_points(v, function=function):
                return function(flow, v, context)

            def value(v, function=function):
                return scalar(function)(flow, v, context)

            out.append(
                (
                    jax.jacfwd(of_points)(v),
                    jax.jacrev(of_points)(v),
                    jax.hessian(value)(v),
                    jax.jacrev(jax.grad(value))(v),
                )
            )
        return out

    got, expected = matrices(flow, v, context)
    assert float(jnp.abs(expected[2]).max()) > 1e-3
    assert_same_gradients(got, expected, 1e-10)


@pytest.mark.slow
@every_method
def test_third_derivatives(method):
    flow, v, _ = build("residual", method)

    @jax.jit
    def third(flow, v):
        out = []
        for function in (sequential, loop):

            def along(t, function=function):
                return scalar(function)(flow, v + t * points(*v.shape, seed=6), None)

            out.append(jax.grad(jax.jacfwd(jax.grad(along)))(0.1))
        return out

    got, expected = third(flow, v)
    assert abs(float(expected)) > 1e-2
    assert_same_gradients(got, expected, 1e-9)


@pytest.mark.slow
@every_method
def test_mapped_over_points_and_over_weights(method):
    flows = stack(*(build("context", method)[0] for _ in range(2)))
    flows = jax.tree.map(lambda leaf: leaf * (1 + 0.1 * points(*leaf.shape, seed=2)), flows)
    _, v, context = build("context", method)

    def gradients(function):
        def one(flow, v, context):
            return jax.hessian(lambda v: scalar(function)(flow, v, context))(v), jax.grad(
                scalar(function)
            )(flow, v, context)

        return jax.vmap(jax.vmap(one, (None, 0, 0)), (0, None, None))

    got, expected = jax.jit(
        lambda *args: [gradients(function)(*args) for function in (sequential, loop)]
    )(flows, v, context)
    assert_same_gradients(got, expected, 1e-10)


@every_method
def test_gradients_of_one_argument_alone(method):
    flow, v, context = build("context", method)

    @jax.jit
    def gradients(flow, v, context):
        return [
            [jax.grad(scalar(function), i)(flow, v, context) for i in range(3)]
            for function in (sequential, loop)
        ]

    got, expected = gradients(flow, v, context)
    assert_same_gradients(got, expected, 1e-10)

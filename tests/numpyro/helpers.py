"""Small flows with large random weights, compiled calls, and counters of evaluations."""

import contextlib
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import numpyro_flowkit as fk
from numpyro_flowkit.transforms import (
    Autoregressive,
    Coupling,
    compose,
    coupling,
    evaluation,
    implicit,
    made_solver,
    network_solver,
)
from tests.cases import arrays_for

SMALL = {"num_layers": 2, "hidden_dims": (8,)}

# Every recipe, as a function of the dimension.
RECIPES = {
    "maf": lambda d, **kw: fk.maf(d, **SMALL, **kw),
    "iaf": lambda d, **kw: fk.iaf(d, **SMALL, **kw),
    "realnvp": lambda d, **kw: fk.realnvp(d, **SMALL, **kw),
    "nice": lambda d, **kw: fk.nice(d, **SMALL, **kw),
    "lu_linear": fk.lu_linear,
    "qr_linear": fk.qr_linear,
    "permute": lambda d: fk.permute(d, order=tuple(reversed(range(d)))),
    "compose": lambda d: fk.compose(
        fk.permute(d, order=tuple(reversed(range(d)))), fk.qr_linear(d), fk.realnvp(d, **SMALL)
    ),
}
CONDITIONAL = ("maf", "iaf", "realnvp", "nice")


def large(init, *, seed=0, dtype=np.float64):
    """The flow of a recipe with every network output of order one."""
    arrays = arrays_for(init.spec, seed=seed, dtype=dtype)
    return fk.build(init.spec, {name: jnp.asarray(values) for name, values in arrays.items()})


def points(*shape, seed=1, dtype=np.float64):
    """Standard Normal numbers from a seed."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def layer(recipe, input_dim, **kwargs):
    """The only layer of a one-layer flow."""
    init = recipe(input_dim, **{"num_layers": 1, "hidden_dims": (8,), **kwargs})
    return large(init).layers[0]


def mixed_compose():
    """A composition in which every kind of layer occurs, as a recipe's result."""
    thin = {"num_layers": 1, "hidden_dims": (8,)}
    return fk.compose(
        fk.realnvp(4, **thin),
        fk.permute(4, order=(1, 2, 3, 0)),
        fk.lu_linear(4),
        fk.maf(4, **thin),
        fk.qr_linear(4),
        fk.iaf(4, **thin),
    )


def conditional_compose(context_dim=3):
    """Conditional and unconditional layers."""
    thin = {"num_layers": 1, "hidden_dims": (8,), "context_dim": context_dim}
    return fk.compose(fk.maf(4, **thin), fk.lu_linear(4), fk.realnvp(4, **thin))


# Transforms of 4 coordinates.
TRANSFORMS = {
    "coupling": lambda: layer(fk.realnvp, 4),
    "maf": lambda: large(fk.maf(4, **SMALL)),
    "iaf": lambda: large(fk.iaf(4, **SMALL)),
    "compose": lambda: large(mixed_compose()),
    "conditioned": lambda: large(conditional_compose()).condition(points(3, seed=5)),
}


@functools.partial(jax.jit, static_argnums=0)
def call(method, transform, *args):
    """``transform.method(*args)``, compiled once per architecture and shape."""
    return getattr(transform, method)(*args)


def forward(transform, *args):
    return call("forward_and_log_det", transform, *args)


def inverse(transform, *args):
    return call("inverse_and_log_det", transform, *args)


@jax.jit
def log_prob(density, x):
    """``density.log_prob(x)``, compiled; the distribution is an argument."""
    return density.log_prob(x)


def standard_normal(dim, dtype=np.float64):
    """N(0, I)."""
    zeros = jnp.zeros(dim, dtype)
    return dist.Normal(zeros, jnp.ones_like(zeros)).to_event(1)


def stack(*flows):
    """A batch of flows of one architecture."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *flows)


def assert_close(got, expected, rtol=1e-10, atol=1e-10):
    """Two pytrees have the same structure, and arrays that agree."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def assert_same_gradients(got, expected, tolerance=1e-10):
    """Each array equals the expected one, relative to its largest entry."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for (path, reference), a in zip(
        jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(got), strict=True
    ):
        size = max(float(np.abs(reference).max(initial=0)), 1e-6)
        worst = float(np.abs(a - reference).max(initial=0))
        where = jax.tree_util.keystr(path)
        assert worst <= tolerance * size, f"{where}: {worst:.2e} of {size:.2e}"


class Calls:
    """Number of evaluations of networks, parallel passes and sweeps together."""

    def __init__(self):
        self.count = 0

    def counting(self, function, weight=lambda *args: 1):
        def counted(*args):
            self.count += weight(*args)
            return function(*args)

        return counted


@contextlib.contextmanager
def network_calls(monkeypatch):
    """Count the evaluations of conditioners in whatever is traced or run meanwhile."""
    calls = Calls()
    with monkeypatch.context() as patch:
        # JAX would not trace again what it has compiled before.
        patch.setattr(evaluation, "_compiled", evaluation._compiled.__wrapped__)
        patch.setattr(implicit, "solve_made", calls.counting(implicit.solve_made))
        run = calls.counting(compose.sequential_run, lambda layers, *_: len(layers))
        patch.setattr(compose, "sequential_run", run)
        patch.setattr(network_solver, "law_params", calls.counting(network_solver.law_params))
        patch.setattr(coupling, "law_params", calls.counting(coupling.law_params))
        yield calls


def num_networks(transform):
    """How many conditioners a transform holds."""
    kinds = (Autoregressive, Coupling)
    leaves = jax.tree.leaves(transform, is_leaf=lambda node: isinstance(node, kinds))
    return sum(isinstance(leaf, kinds) for leaf in leaves)


def multiplications(function, *args):
    """Floating-point operations of the matrix products in ``function(*args)``, loops unrolled."""
    return _dot_flops(jax.make_jaxpr(function)(*args).jaxpr)


def _dot_flops(jaxpr):
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            lengths = [eqn.invars[0].aval.shape[axis] for axis in contracted]
            total += 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(lengths)
        if eqn.primitive.name == "cond":  # each chunk of a sweep takes another branch
            branches = eqn.params["branches"]
            total += sum(_dot_flops(branch.jaxpr) for branch in branches) / len(branches)
            continue
        if eqn.primitive.name == "flowkit_sweep":
            evaluate = functools.partial(made_solver._evaluate, eqn.params["static"])
            for flags in reversed(eqn.params["mapped"]):
                evaluate = jax.vmap(evaluate, tuple(0 if own else None for own in flags))
            total += _dot_flops(jax.make_jaxpr(evaluate)(*(v.aval for v in eqn.invars)).jaxpr)
            continue
        if eqn.primitive.name == "while":
            raise AssertionError("the number of iterations is not known")
        inner = [p for p in jax.tree.leaves(eqn.params) if hasattr(p, "eqns")]
        total += sum(map(_dot_flops, inner)) * eqn.params.get("length", 1)
    return total


class OwnMaskedNet:
    """A user's own masked network: position j sees ``sin`` of positions below j."""

    def __init__(self, input_dim, num_params, context_dim=0, *, seed=0):
        rng = np.random.default_rng(seed)
        self.params = {
            "weight": jnp.asarray(rng.normal(size=(num_params, input_dim, input_dim))),
            "bias": jnp.asarray(rng.normal(size=(num_params, input_dim))),
            "context_weight": jnp.asarray(rng.normal(size=(num_params, input_dim, context_dim))),
        }

    def __call__(self, inputs, context=None):
        weight = jnp.tril(self.params["weight"], -1)
        raw = jnp.einsum("pij,...j->...pi", weight, jnp.sin(inputs)) + self.params["bias"]
        if context is not None:
            raw = raw + jnp.einsum("pic,...c->...pi", self.params["context_weight"], context)
        return raw.reshape(*raw.shape[:-2], math.prod(raw.shape[-2:]))

    def __eq__(self, other):
        raise AssertionError("a network is a node of the tree, never compared")

    __hash__ = None


def _unflatten(_, children):
    net = object.__new__(OwnMaskedNet)
    (net.params,) = children
    return net


jax.tree_util.register_pytree_node(OwnMaskedNet, lambda net: ((net.params,), None), _unflatten)

"""What a process with four devices computes in the tests of sharding; no test is in here."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from numpyro.infer.autoguide import AutoNormal

from numpyro_flowkit import AutoIAF, diagnose, fit_guide, iaf, maf

# Each is swept in another way: compiled from C where there is a compiler, by loops of XLA.
FLOWS = {
    "compiled": functools.partial(maf, 4, num_layers=2, hidden_dims=(6,)),
    "loops": functools.partial(iaf, 4, num_layers=2, hidden_dims=(6, 6), residual=True),
}
AUTO, EXPLICIT = AxisType.Auto, AxisType.Explicit
ROWS = PartitionSpec("p")


def mesh(kind=AUTO):
    return Mesh(np.array(jax.devices()), ("p",), axis_types=(kind,))


def flow_of(name):
    leaves, structure = jax.tree.flatten(FLOWS[name]()(jax.random.key(0)))
    rng = np.random.default_rng(0)
    moved = [leaf + 0.3 * rng.normal(size=leaf.shape) for leaf in leaves]
    return jax.tree.unflatten(structure, moved)


def everything(flow, rows):
    """Both directions, and a score pushed along."""
    return (
        *flow.forward_and_log_det(rows),
        *flow.inverse_and_log_det(rows),
        flow.forward_and_score(rows, -rows)[2],
    )


def total(flow, rows):
    """A number for each row, which depends on both directions."""
    parts = (*flow.forward_and_log_det(rows), *flow.inverse_and_log_det(rows))
    return sum(part.reshape(len(rows), -1).sum(-1) for part in parts)


def furthest(got, expected):
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)
    return max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)))) for a, b in pairs)


def flows(name):
    """How far results on four devices are from those on one."""
    flow, rows = flow_of(name), np.random.default_rng(1).normal(size=(8, 4))
    gradient = jax.jit(jax.grad(lambda flow, rows: total(flow, rows).mean(), argnums=(0, 1)))
    expected = jax.jit(everything)(flow, rows), gradient(flow, rows)
    found = {}
    for kind in (AUTO, EXPLICIT):
        spread = jax.device_put(rows, NamedSharding(mesh(kind), ROWS))
        got = jax.jit(everything)(flow, spread), gradient(flow, spread)
        found[str(kind)] = furthest(got, expected)
        if kind == EXPLICIT:
            found["in pieces"] = all(part.sharding.spec[0] == "p" for part in got[0])
    mapped = functools.partial(jax.shard_map, mesh=mesh(), out_specs=ROWS)
    of_rows = mapped(functools.partial(everything, flow), in_specs=ROWS)
    of_both = mapped(total, in_specs=(PartitionSpec(), ROWS))
    got = (
        jax.jit(of_rows)(rows),
        jax.jit(jax.grad(lambda *a: of_both(*a).mean(), (0, 1)))(flow, rows),
    )
    found["shard_map"] = furthest(got, expected)
    return found


def scores(name):
    """The same of densities alone, which is less to compile."""
    flow, rows = flow_of(name), np.random.default_rng(1).normal(size=(8, 4))
    score = jax.jit(type(flow).inverse_and_log_det)
    expected = score(flow, rows)
    got = score(flow, jax.device_put(rows, NamedSharding(mesh(EXPLICIT), ROWS)))
    of_rows = jax.shard_map(flow.inverse_and_log_det, mesh=mesh(), in_specs=ROWS, out_specs=ROWS)
    return {
        "in pieces": all(part.sharding.spec[0] == "p" for part in got),
        str(EXPLICIT): furthest(got, expected),
        "shard_map": furthest(jax.jit(of_rows)(rows), expected),
    }


def regression(x, y):
    """Two coefficients and a scale."""
    w = numpyro.sample("w", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
    s = numpyro.sample("s", dist.HalfNormal(1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal((x * w).sum(-1), s), obs=y)


def fits(which):
    """How far fits on four devices are from those on one."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 2))
    y = x @ [1.0, -1.0] + 0.3 * rng.normal(size=12)
    devices = np.array(jax.devices()).reshape(2, 2)

    def fit(guide, *data, **settings):
        options = {"num_steps": 12, "num_particles": 8, "progress": False, **settings}
        return fit_guide(regression, guide, *data, **options)

    def spread(kind):
        both = Mesh(devices, ("rows", "particles"), axis_types=(kind, kind))
        rows = NamedSharding(both, PartitionSpec("rows"))
        particles = NamedSharding(both, PartitionSpec("particles"))
        return [jax.device_put(a, rows) for a in (x, y)], {"particle_sharding": particles}

    def distance(one, two):
        kept = [(r.params, r.elbo, np.array(r.losses)) for r in (one, two)]
        return furthest(*kept)

    def guide_of(**options):
        return AutoIAF(regression, num_layers=1, hidden_dims=(4,), **options)

    if which == "short":
        options = {"gradient": "total", "warm_start": None}
        data, sharding = spread(EXPLICIT)
        both = fit(guide_of(base="normal"), *data, **options, **sharding)
        return {"both": distance(both, fit(guide_of(base="normal"), x, y, **options))}
    guide = guide_of()
    whole = fit(guide, x, y)
    data, sharding = spread(EXPLICIT)
    both = fit(guide_of(), *data, **sharding)
    found = {"both": distance(both, whole)}
    chunks = {"chunk_size": 4, "warm_start": None}
    data, sharding = spread(AUTO)
    found["chunks"] = distance(
        fit(guide_of(), x, y, **chunks, **sharding), fit(guide_of(), x, y, **chunks)
    )
    found["any guide"] = distance(
        fit(AutoNormal(regression), *data, **sharding), fit(AutoNormal(regression), x, y)
    )
    key = jax.random.key(0)
    khats = [
        diagnose(guide, whole.params, *given, rng_key=key, num_samples=200).khat
        for given in (data, (x, y))
    ]
    found["diagnose"] = abs(khats[0] - khats[1])
    return found


def refusals():
    """Messages of fits whose particles do not fit on the devices."""
    told = []
    for settings in ({"num_particles": 6}, {"num_particles": 8, "chunk_size": 2}):
        try:
            fit_guide(
                regression, AutoIAF(regression), np.ones((4, 2)), np.ones(4),
                particle_sharding=NamedSharding(mesh(), ROWS), **settings,
            )  # fmt: skip
        except ValueError as error:
            told.append(str(error))
    return told


PARTS = {
    "fits": functools.partial(fits, "all"),
    "short fits": functools.partial(fits, "short"),
    "refusals": refusals,
    "scores": functools.partial(scores, "loops"),
    **{name: functools.partial(flows, name) for name in FLOWS},
}


def main(*names):
    """Print what they return as JSON."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    print(json.dumps({name: PARTS[name]() for name in names}))

"""What a process with eight devices computes in the tests of surgery; no test is in here."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from numpyro_flowkit import (
    FlowDistribution,
    aggregate_log_prob,
    elbo_surgery,
    elbo_surgery_of,
    iaf,
    latent_surgery,
)
from numpyro_flowkit.spread import row_mesh
from numpyro_flowkit.surgery import posterior as posteriors
from numpyro_flowkit.surgery.gaussian_pairs import DiagonalPairs
from numpyro_flowkit.surgery.streamed import log_sum_of_pairs, plan_for

AUTO, EXPLICIT = AxisType.Auto, AxisType.Explicit
ROWS = PartitionSpec("rows")
ALL = ["posterior", "both", "points", "two axes", "batches"]
HALVES = slice(16), slice(16, 32)
KEY = jax.random.key(0)
PRIOR = dist.Normal(jnp.zeros(2), 1.5).to_event(1)


def numbers():
    """Means and scales of 32 data points, and 20 points."""
    rng = np.random.default_rng(0)
    return 2 * rng.normal(size=(32, 2)), rng.uniform(0.2, 1.5, (32, 2)), rng.normal(size=(20, 2))


def flow():
    """A conditional flow that is not the identity."""
    made = iaf(2, num_layers=1, hidden_dims=(6,), context_dim=2)(jax.random.key(0))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: leaf + 0.3 * rng.normal(size=leaf.shape), made)


def posterior_of(kind, loc, scale):
    if kind == "full":
        return dist.MultivariateNormal(loc, scale_tril=jax.vmap(jnp.diag)(scale))
    if kind == "student":
        return dist.StudentT(4.0, loc, scale).to_event(1)
    base = dist.Normal(loc, scale).to_event(1)
    return base if kind == "diagonal" else FlowDistribution(flow(), base, context=loc)


def spread(array, kind=AUTO, *, two=False):
    """On all eight devices; of two axes the second one holds copies."""
    shape, names = ((4, 2), ("rows", "copies")) if two else ((8,), ("rows",))
    devices = np.array(jax.devices()).reshape(shape)
    mesh = Mesh(devices, names, axis_types=(kind,) * len(names))
    return jax.device_put(array, NamedSharding(mesh, ROWS))


def furthest(got, expected):
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)
    return max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)))) for a, b in pairs)


def densities(kind, ways):
    """How far log-densities on eight devices are from those on one."""
    loc, scale, z = numbers()
    expected = aggregate_log_prob(posterior_of(kind, loc, scale), z)
    there = [spread(loc), spread(scale)]
    given = {
        "posterior": lambda: (posterior_of(kind, *there), z),
        "both": lambda: (posterior_of(kind, *there), spread(z[:16])),
        "points": lambda: (posterior_of(kind, loc, scale), spread(z[:16])),
        "explicit": lambda: (
            posterior_of(kind, spread(loc, EXPLICIT), spread(scale, EXPLICIT)),
            spread(z[:16], EXPLICIT),
        ),
        "two axes": lambda: (posterior_of(kind, loc, spread(scale, two=True)), z),
        "batches": lambda: (
            [posterior_of(kind, spread(loc[r]), spread(scale[r])) for r in HALVES],
            z,
        ),
    }  # fmt: skip
    found = {}
    for way in ways:
        posterior, points = given[way]()
        got = aggregate_log_prob(posterior, points, memory_limit=2**18)
        found[way] = furthest(got, expected[: len(points)])
        assert len(got.sharding.device_set) == 8
    return found


def flat(found):
    """The numbers of a report."""
    return jax.tree.leaves({k: v for k, v in found.to_dict().items() if v is not None})


def surgeries(kind):
    """How far surgery on eight devices is from that on one."""
    loc, scale, _ = numbers()
    found = {}
    here, there = (posterior_of(kind, f(loc), f(scale)) for f in (jnp.asarray, spread))
    for method in ("exact", "bounds"):
        options = {"rng_key": KEY, "num_samples": 2, "method": method}
        pair = [elbo_surgery(posterior, PRIOR, **options) for posterior in (there, here)]
        found[method] = furthest(*map(flat, pair))
        found[f"{method}, draws"] = furthest(pair[0].draws, pair[1].draws)
    if kind == "diagonal":
        pair = [latent_surgery(p, PRIOR, rng_key=KEY) for p in (there, here)]
        found["latents"] = furthest(*map(flat, pair))
    return found


def model(x):
    """One latent vector for each row."""
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", PRIOR)
        numpyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


def guide(x):
    with numpyro.plate("data", len(x)):
        numpyro.sample("z", dist.Normal(x / 2, 0.5).to_event(1))


def read_off():
    """The same of a model and a guide, whose data are spread."""
    pair = [
        elbo_surgery_of(model, guide, {}, x, rng_key=KEY, batch_size=16)
        for x in (spread(numbers()[0]), jnp.asarray(numbers()[0]))
    ]
    return {"of model": furthest(*map(flat, pair))}


def programs(kind):
    """What a device does of all pairs, as compiled: shapes, memory, and talk between devices."""
    loc, scale, _ = numbers()
    part = posterior_of(kind, spread(loc), spread(scale))
    mesh = row_mesh(part)
    points = spread(np.zeros((4096, 2)))
    if kind == "diagonal":
        params = posteriors._everywhere((jnp.asarray(loc), jnp.asarray(scale)), mesh)
        plan = plan_for(DiagonalPairs, params, 512, 2**18)
        args = log_sum_of_pairs, plan, mesh, points, params
    else:
        args = posteriors._log_sum_by_rows, 8, mesh, points, posteriors._everywhere(part, mesh)
    program = posteriors._compiled.lower(*args).compile()
    text = program.as_text()
    talk = [name for name in ("all-gather", "all-reduce", "all-to-all", "permute") if name in text]
    return {
        "talk": talk,
        "own points": "f64[512,2]" in text,
        "all points": "f64[4096" in text,
        "bytes": program.memory_analysis().temp_size_in_bytes,
    }


PARTS = {
    "diagonal": functools.partial(densities, "diagonal", ["both", "points"]),
    "flow": functools.partial(densities, "flow", ["posterior"]),
    # NumPyro's own MultivariateNormal takes no explicitly sharded arrays.
    "all of full": functools.partial(densities, "full", ALL),
    **{
        f"all of {kind}": functools.partial(densities, kind, [*ALL, "explicit"])
        for kind in ("diagonal", "student", "flow")
    },
    **{f"surgery of {kind}": functools.partial(surgeries, kind) for kind in ("diagonal", "flow")},
    "of model": read_off,
    **{f"program of {kind}": functools.partial(programs, kind) for kind in ("diagonal", "flow")},
}


def main(*names):
    """Print what they return as JSON."""
    jax.config.update("jax_enable_x64", True)
    print(json.dumps({name: PARTS[name]() for name in names}))

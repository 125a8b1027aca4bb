"""The aggregated posterior of n Gaussians at n draws: ours beside broadcasting, in one process.

Broadcasting is what people write: differences of some draws to all means, (rows, n, d), squared and
summed. It is measured on a few draws and scaled up; more would take a quarter of an hour.
"""

import math
import time

import numpy as np

from benchmarks.memory import peak_growth

# Draws at a time that broadcasting takes: some 64 MB of float32 at n = 50 000, d = 32 would be ten;
# twenty were faster.
CHUNK = 20
# Tiles of a matrix product, in float64, for the rate of arithmetic: small enough for the cache.
TILE, NUM_TILES = 1024, 48
# sds and spread of the means, uniform: "easy" as a VAE has them, "narrow" a thousandth of theirs.
KINDS = {"easy": ((0.1, 1.0), 1.0), "narrow": ((1e-3, 1e-3), 5.0)}


def problem(kind, num_data, dim):
    """Means, sds and a draw of each, float32."""
    rng = np.random.default_rng(0)
    (low, high), spread = KINDS[kind]
    loc = rng.uniform(-spread, spread, (num_data, dim)).astype(np.float32)
    scale = rng.uniform(low, high, (num_data, dim)).astype(np.float32)
    return loc, scale, (loc + scale * rng.normal(size=loc.shape)).astype(np.float32)


def measure(library, kind, num_data, dim, num_chunks, *, gradient=False, exact_rows=100):
    """CPU seconds of both, memory of ours, its error, and rates of arithmetic."""
    arrays = problem(kind, num_data, dim)
    make = _torch if library == "pyro_flowkit" else _jax
    ours, broadcast, product = make(*arrays, gradient=gradient)
    for warm_up in (lambda: broadcast(slice(0, CHUNK)), product):
        warm_up()
    if library != "pyro_flowkit":
        ours()  # compiles
    times = {"ours": [], "broadcast": [], "product": []}
    found = None
    for index in range(num_chunks):
        rows = slice(index * CHUNK, (index + 1) * CHUNK)
        times["broadcast"].append(_cpu(lambda rows=rows: broadcast(rows)) * num_data / CHUNK)
        times["product"].append(_cpu(product))
        if index in (0, num_chunks - 1):  # at both ends of what it stands beside

            def whole():
                nonlocal found
                found = ours()

            times["ours"].append(_cpu(whole))
    features = 2 * 2 * dim  # a product and a sum for each statistic
    passes = 3 if gradient else 1
    reply = {
        **{name: sorted(values)[len(values) // 2] for name, values in times.items()},
        "gflops": 1e-9 * passes * features * num_data**2 / min(times["ours"]),
        "product_gflops": 1e-9 * features * TILE**2 * NUM_TILES / min(times["product"]),
        "bytes": peak_growth(ours),
    }
    if not gradient:
        picked = np.linspace(0, num_data - 1, exact_rows).astype(int)
        reply["error"] = float(abs(found[picked] - _exactly(*arrays, picked)).max())
    return reply


def _cpu(function):
    began = time.process_time()
    function()
    return time.process_time() - began


def _exactly(loc, scale, z, picked):
    """In float64, by differences."""
    loc, scale, z = (values.astype(np.float64) for values in (loc, scale, z[picked]))
    out = []
    for row in z:
        pairs = -0.5 * (((row - loc) / scale) ** 2).sum(1) - np.log(scale).sum(1)
        largest = pairs.max()
        out.append(largest + math.log(np.exp(pairs - largest).mean()))
    return np.array(out) - 0.5 * z.shape[1] * math.log(2 * math.pi)


def _torch(loc, scale, z, *, gradient):
    import torch
    from torch.distributions import Independent, Normal

    from pyro_flowkit import aggregate_log_prob

    loc, scale, z = map(torch.from_numpy, (loc, scale, z))
    for values in (loc, scale, z):
        values.requires_grad_(gradient)
    posterior = Independent(Normal(loc, scale, validate_args=False), 1)

    def finish(log_prob):
        if gradient:
            for values in (loc, scale, z):
                values.grad = None
            log_prob.mean().backward()
        return log_prob.detach().numpy()

    def ours():
        return finish(aggregate_log_prob(posterior, z))

    def broadcast(rows):
        pairs = posterior.log_prob(z[rows, None])
        return finish(torch.logsumexp(pairs, 1) - math.log(len(loc)))

    points = torch.cat([z, z], 1)[:TILE].detach().double()
    other = torch.cat([loc, scale], 1)[:TILE].detach().double().T.contiguous()
    out = torch.mm(points, other)

    def product():
        for _ in range(NUM_TILES):
            torch.mm(points, other, out=out)

    return ours, broadcast, product


def _jax(loc, scale, z, *, gradient):
    import jax
    import jax.numpy as jnp
    import numpyro.distributions as dist

    from numpyro_flowkit import aggregate_log_prob
    from numpyro_flowkit.surgery.precision import float64

    if gradient:
        raise ValueError("JAX: the gradient is not compared")
    loc, scale, z = map(jnp.asarray, (loc, scale, z))

    @jax.jit
    def chunk(loc, scale, z):  # XLA fuses it: no table of (rows, n, d) is ever held
        pairs = dist.Normal(loc, scale).to_event(1).log_prob(z[:, None])
        return jax.scipy.special.logsumexp(pairs, 1) - math.log(len(loc))

    multiply = jax.jit(jnp.matmul)
    with float64():
        other = jnp.concatenate([loc, scale], 1)[:TILE].astype(np.float64).T
        points = jnp.concatenate([z, z], 1)[:TILE].astype(np.float64)

    def product():
        with float64():
            for _ in range(NUM_TILES):
                multiply(points, other).block_until_ready()

    def ours():
        return np.asarray(aggregate_log_prob(dist.Normal(loc, scale).to_event(1), z))

    return ours, lambda rows: chunk(loc, scale, z[rows]).block_until_ready(), product

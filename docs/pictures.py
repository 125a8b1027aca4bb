"""What each flow does to a grid: `python -m docs.pictures [names]` writes docs/flows/pictures/.

Every flow of two coordinates is fitted to one crescent, whose density is known, by the reverse KL
divergence (fresh draws of the base, Adam), so that the pictures show what a family can and cannot
bend; the divergence that is left stands above each. ActNorm and BatchNorm take the moments of draws
of the crescent instead. A logit leads into the unit square and is shown as it is. Some seconds for
each flow on one core.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from matplotlib.figure import Figure
from PIL import Image

import numpyro_flowkit as nf
from flowkit_core.plots import COLOURS, without_frame

FOLDER = Path(__file__).parent / "flows" / "pictures"
WINDOW = 3.6
STEPS, DRAWS = 4000, 256

FLOWS: dict[str, Callable[[], nf.FlowInit]] = {
    "maf": lambda: nf.maf(2, num_layers=3, hidden_dims=(32, 32), activation="silu"),
    "iaf": lambda: nf.iaf(2, num_layers=3, hidden_dims=(32, 32), activation="silu"),
    "realnvp": lambda: nf.realnvp(2, num_layers=6, hidden_dims=(32, 32), activation="silu"),
    "nice": lambda: nf.nice(2, num_layers=6, hidden_dims=(32, 32), activation="silu"),
    "spline": lambda: nf.realnvp(
        2, num_layers=4, hidden_dims=(32, 32), activation="silu", law="spline"
    ),
    "lu_linear": lambda: nf.lu_linear(2),
    "qr_linear": lambda: nf.qr_linear(2),
    "triangular_linear": lambda: nf.triangular_linear(2),
    "low_rank_linear": lambda: nf.low_rank_linear(2, rank=1),
    "householder_linear": lambda: nf.householder_linear(2, num_reflections=2),
    "diagonal_linear": lambda: nf.diagonal_linear(2),
    "act_norm": lambda: nf.act_norm(2),
    "batch_norm": lambda: nf.batch_norm(2),
    "planar": lambda: nf.planar(2, num_layers=16),
    "sylvester": lambda: nf.sylvester(2, num_layers=4, rank=2),
    "permute": lambda: nf.permute(2, order=(1, 0)),
}


def log_density(x: Array) -> Array:
    """Of the crescent, unnormalised: the right part of a ring of radius 2.5 round (-2, 0)."""
    centred = x + jnp.array([2.0, 0.0])
    radius = jnp.sqrt((centred**2).sum(-1) + 1e-2)
    return -0.5 * ((radius - 2.5) / 0.35) ** 2 + 1.5 * centred[..., 0] / radius


def log_normaliser() -> float:
    side = jnp.linspace(-8.0, 8.0, 1601)
    points = jnp.stack(jnp.meshgrid(side, side), -1)
    return float(jax.nn.logsumexp(log_density(points)) + 2 * jnp.log(side[1] - side[0]))


def fitted(init: nf.FlowInit) -> tuple[nf.Flow, float]:
    """The flow after its fit, and the KL divergence from it to the crescent, in nats."""
    flow = init(jax.random.key(0))
    if flow.takes_statistics:
        x = draws()
        flow = nf.set_batch_statistics(nf.start_from_data(flow, x), x)
    elif jax.tree.leaves(flow):
        flow = _trained(flow)
    z = jax.random.normal(jax.random.key(2), (20_000, 2))
    return flow, float(_loss(flow, z)) + log_normaliser()


def draws() -> Array:
    """10 000 points of the crescent: of the cells of a fine grid, by their density."""
    side = jnp.linspace(-8.0, 8.0, 1601)
    points = jnp.stack(jnp.meshgrid(side, side), -1).reshape(-1, 2)
    shares = jax.nn.softmax(log_density(points))
    return jax.random.choice(jax.random.key(3), points, (10_000,), p=shares)


@jax.jit
def _loss(flow: nf.Flow, z: Array) -> Array:
    x, log_det = flow.forward_and_log_det(z)
    log_q = -0.5 * (z**2).sum(-1) - jnp.log(2 * jnp.pi) - log_det
    return (log_q - log_density(x)).mean()


@jax.jit
def _trained(flow: nf.Flow) -> nf.Flow:
    optimizer = optax.chain(
        optax.clip_by_global_norm(5.0), optax.adam(optax.cosine_decay_schedule(5e-3, STEPS))
    )

    def step(carry: tuple, key: Array) -> tuple[tuple, None]:
        flow, state = carry
        gradient = jax.grad(_loss)(flow, jax.random.normal(key, (DRAWS, 2)))
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(flow, updates), state), None

    keys = jax.random.split(jax.random.key(1), STEPS)
    (flow, _), _ = jax.lax.scan(step, (flow, optimizer.init(flow)), keys)
    return flow


def draw(name: str) -> None:
    if name == "logit":
        flow, title = nf.logit(2)(jax.random.key(0)), "x = flow(z), in the unit square"
        window, target = (0.0, 1.0), _log_density_of(flow)
    else:
        flow, divergence = fitted(FLOWS[name]())
        title, window, target = (
            f"x = flow(z), KL {divergence:.2f} nats", (-WINDOW, WINDOW), log_density
        )  # fmt: skip
        print(f"{name}: {divergence:.3f} nats", flush=True)
    # Axes of equal units leave constrained layout too little room for their titles.
    figure = Figure(figsize=(7.2, 3.9))
    right = 0.97 if name == "logit" else 0.99  # whose last tick is at the edge
    figure.subplots_adjust(left=0.07, right=right, bottom=0.12, top=0.92, wspace=0.16)
    base, data = figure.subplots(1, 2)
    _shade(base, (-WINDOW, WINDOW), lambda z: -0.5 * (z**2).sum(-1))
    _shade(data, window, target)
    fine = np.linspace(-2.5, 2.5, 161)
    for at in np.linspace(-2.5, 2.5, 11):
        along = np.full_like(fine, at)
        for z, colour in (
            (np.stack([fine, along], -1), COLOURS[0]),
            (np.stack([along, fine], -1), COLOURS[1]),
        ):
            base.plot(*z.T, color=colour, linewidth=0.8)
            x = np.asarray(flow.forward_and_log_det(jnp.asarray(z, jnp.float32))[0])
            data.plot(*x.T, color=colour, linewidth=0.8)
    base.set(title="z, Normal", xlabel="$z_1$", ylabel="$z_2$")
    data.set(title=title, xlabel="$x_1$", ylabel="$x_2$")
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150)
    # 64 colours are enough for lines and greys, and a quarter of the bytes.
    Image.open(picture).convert("RGB").quantize(64).save(FOLDER / f"{name}.png", optimize=True)


def _log_density_of(flow: nf.Flow) -> Callable[[Array], Array]:
    density = nf.FlowDistribution(flow)

    def log_prob(x: Array) -> Array:
        inside = ((x > 0) & (x < 1)).all(-1, keepdims=True)
        return jnp.where(inside[..., 0], density.log_prob(jnp.where(inside, x, 0.5)), -jnp.inf)

    return log_prob


def _shade(axes: Any, window: tuple[float, float], log_density: Callable[[Array], Array]) -> None:
    side = np.linspace(*window, 200)
    mesh = jnp.asarray(np.stack(np.meshgrid(side, side), -1))
    density = np.exp(np.asarray(log_density(mesh)))
    axes.contourf(side, side, density, levels=8, cmap="Greys", alpha=0.55)
    axes.set(xlim=window, ylim=window, aspect="equal")
    without_frame(axes)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or [*FLOWS, "logit"]:
        draw(name)

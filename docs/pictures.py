"""What each flow does to a grid: `python -m docs.pictures [names]` writes docs/flows/pictures/.

Every flow of two coordinates is fitted to one crescent, whose density is known, by the reverse KL
divergence (fresh draws of the base, Adam), so that the pictures show what a family can and cannot
bend; the divergence that is left stands above each. Some seconds for each flow on one core.
"""

import functools
import io
import sys
from collections.abc import Callable
from pathlib import Path

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
    if jax.tree.leaves(flow):
        flow = _trained(flow)
    z = jax.random.normal(jax.random.key(2), (20_000, 2))
    return flow, float(_loss(flow, z)) + log_normaliser()


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
    flow, divergence = fitted(FLOWS[name]())
    forward = jax.jit(functools.partial(type(flow).__call__, flow))
    # Axes of equal units leave constrained layout too little room for their titles.
    figure = Figure(figsize=(7.2, 3.9))
    figure.subplots_adjust(left=0.07, right=0.99, bottom=0.12, top=0.92, wspace=0.16)
    base, data = figure.subplots(1, 2, sharex=True, sharey=True)
    side = np.linspace(-WINDOW, WINDOW, 200)
    mesh = np.stack(np.meshgrid(side, side), -1)
    levels = {"levels": 8, "cmap": "Greys", "alpha": 0.55}
    base.contourf(side, side, np.exp(-0.5 * (mesh**2).sum(-1)), **levels)
    data.contourf(side, side, np.exp(np.asarray(log_density(jnp.asarray(mesh)))), **levels)
    fine = np.linspace(-2.5, 2.5, 161)
    for at in np.linspace(-2.5, 2.5, 11):
        along = np.full_like(fine, at)
        for z, colour in (
            (np.stack([fine, along], -1), COLOURS[0]),
            (np.stack([along, fine], -1), COLOURS[1]),
        ):
            base.plot(*z.T, color=colour, linewidth=0.8)
            data.plot(
                *np.asarray(forward(jnp.asarray(z, jnp.float32))).T, color=colour, linewidth=0.8
            )
    base.set(title="z, Normal", xlabel="$z_1$", ylabel="$z_2$")
    data.set(title=f"x = flow(z), KL {divergence:.2f} nats", xlabel="$x_1$")
    data.set_ylabel("$x_2$")
    for axes in (base, data):
        axes.set(xlim=(-WINDOW, WINDOW), ylim=(-WINDOW, WINDOW), aspect="equal")
        without_frame(axes)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150)
    # 64 colours are enough for lines and greys, and a quarter of the bytes.
    Image.open(picture).convert("RGB").quantize(64).save(FOLDER / f"{name}.png", optimize=True)
    print(f"{name}: {divergence:.3f} nats", flush=True)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or FLOWS:
        draw(name)

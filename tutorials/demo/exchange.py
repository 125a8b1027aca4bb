"""Part 3: a flow trained in NumPyro is loaded in Pyro; sampling a MAF costs about one pass."""

import time
from pathlib import Path

import numpy as np
import torch

import numpyro_flowkit
import pyro_flowkit


def run(output: Path, flow, rows) -> None:
    """Save the NumPyro flow, load it in Pyro, compare densities, time sampling."""
    print("\n== 3. One flow, two libraries ==")
    path = output / "maf.safetensors"
    numpyro_flowkit.save_flow(flow, path)
    loaded = pyro_flowkit.load_flow(path)
    from_jax = np.asarray(numpyro_flowkit.FlowDistribution(flow).log_prob(rows))
    with torch.no_grad():
        from_torch = pyro_flowkit.FlowDistribution(loaded).log_prob(torch.from_numpy(rows)).numpy()
    difference = np.abs(from_torch - from_jax) / (1 + np.abs(from_jax))
    print(
        f"trained in NumPyro, saved to {path} ({path.stat().st_size // 1024} KiB), loaded in Pyro"
    )
    print(f"log p of the first held-out rows: NumPyro {from_jax[:3].round(4)}")
    print(f"                                  Pyro    {from_torch[:3].round(4)}")
    print(f"largest relative difference over {len(rows)} rows: {difference.max():.1e}")
    time_sampling()


def d_pass_loop(flow, z):
    """Sample as other libraries do: D passes of the whole network per layer."""
    for layer in flow.layers:
        order = list(layer.spec.order)
        inverse = np.argsort(order)
        ordered, x = z[:, order], torch.zeros_like(z)
        for _ in range(flow.input_dim):
            raw = layer.conditioner(x).unflatten(-1, (layer.law.num_conditioned, flow.input_dim))
            x, _ = layer.law.forward(ordered, (*raw.unbind(-2), *layer.free.unbind(0)))
        z = x[:, inverse]
    return z


@torch.no_grad()
def time_sampling() -> None:
    """Sampling by the sweep beside the D-pass loop, in process CPU time of one thread."""
    dim, batch = 64, 256
    flow = pyro_flowkit.maf(dim, num_layers=5, hidden_dims=(128, 128))
    generator = torch.Generator().manual_seed(0)
    for parameter in flow.parameters():  # a flow at the identity would be too easy a case
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    z = torch.randn(batch, dim, generator=generator)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ways = {
        "sweep": lambda: flow.forward_and_log_det(z)[0],
        "D passes": lambda: d_pass_loop(flow, z),
        "scoring": lambda: flow.inverse_and_log_det(z)[0],
    }
    seconds = {name: [] for name in ways}
    for _ in range(6):  # in turns; the first round warms up
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name].append(time.process_time() - start)
    torch.set_num_threads(threads)
    typical = {name: float(np.median(times[1:])) for name, times in seconds.items()}
    error = (ways["sweep"]() - ways["D passes"]()).abs().max().item()
    print(f"\nsampling a MAF (Pyro, D={dim}, 5 layers, {batch} points, one thread):")
    print(
        f"  sweep {1e3 * typical['sweep']:.1f} ms, D-pass loop {1e3 * typical['D passes']:.1f} ms: "
        f"{typical['D passes'] / typical['sweep']:.1f} times faster; same points to {error:.0e}"
    )
    print(f"  one scoring pass takes {1e3 * typical['scoring']:.1f} ms")

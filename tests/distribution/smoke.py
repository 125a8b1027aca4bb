"""What an installation with one extra can do, and what it says of the rest.

Runs by itself, as ``python -I smoke.py EXTRA``, in an environment that has the wheel and nothing
else: neither pytest nor the other tests.
"""

import subprocess
import sys
import tempfile
from importlib.metadata import metadata
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np

# Optional packages that must be there, by extra; none of the others may be. arviz needs matplotlib.
PYRO = {"torch", "pyro", "scipy", "tqdm"}
NUMPYRO = {"jax", "numpyro", "optax", "scipy", "tqdm"}
DIAGNOSTICS = {"arviz", "matplotlib", "scipy"}
PRESENT = {
    "core": set(),
    "plot": {"matplotlib"},
    "diagnostics": DIAGNOSTICS,
    "pyro": PYRO,
    "numpyro": NUMPYRO,
    "all": PYRO | NUMPYRO | DIAGNOSTICS,
}
WINGS = {"pyro": "pyro_flowkit", "numpyro": "numpyro_flowkit"}


def ensure(holds, text):
    """Stop unless something holds."""
    if not holds:
        raise SystemExit(f"smoke test failed: {text}")


def refused(action, extra):
    """The action must name the command that installs the extra it lacks."""
    try:
        action()
    except ImportError as error:
        command = f'pip install "ppl-flowkit[{extra}]"'
        ensure(command in str(error), f"expected {command} in: {error}")
    else:
        ensure(False, f"expected an ImportError without the extra {extra}")


def distribution():
    """Metadata, and the files that are no modules."""
    import flowkit_core

    about = metadata("ppl-flowkit")
    ensure(about["Version"] == flowkit_core.__version__, "the version is that of the package")
    ensure(about["License-Expression"] == "Apache-2.0", "the licence is told")
    ensure("# ppl-flowkit" in about.get_payload(), "the README is the description")
    for package in ("flowkit_core", *WINGS.values()):
        folder = Path(find_spec(package).origin).parent
        ensure("site-packages" in folder.parts, f"{package} is the installed one, not {folder}")
        ensure((folder / "py.typed").is_file(), f"{package} is typed")
    sources = {one.name for one in files("flowkit_core.native").iterdir()}
    ensure({"sweep.c", "pullback.c", "xla.c", "layer.h", "tile.h"} <= sources, "sources in C")


def core(folder):
    """A flow as data, through a file."""
    from flowkit_core import read_checkpoint, write_checkpoint
    from flowkit_core.recipes import maf

    spec = maf(3, num_layers=2, hidden_dims=(8,))
    arrays = {one.name: np.full(one.shape, 0.5) for one in spec.arrays()}
    write_checkpoint(folder / "flow.safetensors", spec, arrays)
    read, found = read_checkpoint(folder / "flow.safetensors")
    ensure(read == spec and set(found) == set(arrays), "a checkpoint comes back")


def info(extra):
    """The command that reports on the installation."""
    done = subprocess.run(
        [sys.executable, "-I", "-m", "flowkit_core", "info"], capture_output=True, text=True
    )
    ensure(done.returncode == 0, f"info: {done.stderr}")
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("  ")}
    for name in ("pyro", "numpyro", "plot", "diagnostics"):
        there = lines[name].split()[1] == "yes"
        ensure(there or extra not in (name, "all"), f"info misses an extra:\n{done.stdout}")
    ensure("broken" not in done.stdout, f"info finds something broken:\n{done.stdout}")


def pictures(folder):
    """A picture in a file, or the command that makes it possible."""
    from flowkit_core import plots

    def draw():
        plots.loss_curves([2.0, 1.0], [2.5, 1.5], best_epoch=1, path=folder / "losses.png")

    if find_spec("matplotlib") is None:
        return refused(draw, "plot")
    draw()
    ensure((folder / "losses.png").read_bytes().startswith(b"\x89PNG"), "a picture")


def diagnosis():
    """A diagnosis of draws, or the command that makes it possible."""
    from flowkit_core.diagnostics import diagnose_draws

    x = np.random.default_rng(0).normal(size=1000)

    def diagnose():
        return diagnose_draws(0.1 * x, {"x": x})

    if find_spec("arviz") is None:
        return refused(diagnose, "diagnostics")
    ensure(diagnose().trusted, "a good guide is trusted")


def pyro(folder):
    """A density, and a guide of a model."""
    if find_spec("torch") is None:
        return refused(lambda: __import__("pyro_flowkit"), "pyro")
    import pyro
    import torch

    import pyro_flowkit as fk

    flow = fk.maf(2, num_layers=2, hidden_dims=(8,))
    fk.fit_density(flow, torch.randn(64, 2), num_epochs=2, progress=False)
    fk.save_flow(flow, folder / "pyro.safetensors")
    ensure(fk.FlowDistribution(flow).log_prob(torch.zeros(5, 2)).isfinite().all(), "a density")

    def model():
        pyro.sample("x", pyro.distributions.Normal(torch.zeros(2), 1.0).to_event(1))

    guide = fk.AutoIAF(model, num_layers=1, hidden_dims=(8,))
    fk.fit_guide(model, guide, num_steps=20, progress=False)
    ensure(guide.sample_posterior(7)["x"].shape == (7, 2), "draws of a guide")


def numpyro(folder):
    """A density, and a guide of a model."""
    if find_spec("jax") is None:
        return refused(lambda: __import__("numpyro_flowkit"), "numpyro")
    import jax
    import numpyro

    import numpyro_flowkit as fk

    init = fk.maf(2, num_layers=2, hidden_dims=(8,))
    rows = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    flow = fk.fit_density(init, rows, num_epochs=2, progress=False).flow
    fk.save_flow(flow, folder / "numpyro.safetensors")
    ensure(np.isfinite(fk.FlowDistribution(flow).log_prob(rows)).all(), "a density")

    def model():
        numpyro.sample("x", numpyro.distributions.Normal(np.zeros(2), 1.0).to_event(1))

    guide = fk.AutoIAF(model, num_layers=1, hidden_dims=(8,))
    fit = fk.fit_guide(model, guide, num_steps=20, progress=False)
    draws = guide.sample_posterior(jax.random.key(0), fit.params, sample_shape=(7,))
    ensure(draws["x"].shape == (7, 2), "draws of a guide")


def exchange(folder):
    """A flow fitted in each wing gives the same numbers in the other."""
    import torch

    import numpyro_flowkit
    import pyro_flowkit

    rows = np.random.default_rng(1).normal(size=(9, 2)).astype("float32")
    for name in WINGS:
        path = folder / f"{name}.safetensors"
        _, one = pyro_flowkit.load_flow(path).inverse_and_log_det(torch.from_numpy(rows))
        _, two = numpyro_flowkit.load_flow(path).inverse_and_log_det(rows)
        ensure(np.allclose(one.detach(), two, atol=1e-4), f"the flow of {name} in both wings")


def main(extra):
    """Everything that an installation with this extra has to do."""
    optional = set().union(*PRESENT.values())
    there = {module for module in optional if find_spec(module)}
    ensure(there == PRESENT[extra], f"expected {sorted(PRESENT[extra])}, found {sorted(there)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        distribution()
        core(folder)
        info(extra)
        pictures(folder)
        diagnosis()
        pyro(folder)
        numpyro(folder)
        if extra == "all":
            exchange(folder)


if __name__ == "__main__":
    main(sys.argv[1])

"""What the sequential direction of ours did: algorithm, iterations, residual, and its error."""

import dataclasses

import numpy as np


def describe(adapter, case, *, exact):
    """Run the case's flow once.

    Args:
        adapter: `benchmarks.peers.pyro_flowkit` or `benchmarks.peers.numpyro_flowkit`.
        case: a MAF.
        exact: whether to run the same flow in float64 by the sweep too.

    Returns:
        dict with, where this version reports them, lists over layers ``methods``, ``iterations``
        and ``residuals``; and ``error``, the largest |x - x64| over the largest |x64|.
    """
    z = np.random.default_rng(2).standard_normal((case.batch, case.dim)).astype(np.float32)
    torch_wing = adapter.__name__.endswith(".pyro_flowkit")
    wing = _Torch(adapter) if torch_wing else _Jax(adapter)
    report = wing.report(case, z)
    found = {}
    if exact:
        reference = wing.doubled(dataclasses.replace(case, inverse="sweep", device="cpu"), z)
        error = np.max(np.abs(wing.values(case, z) - reference)) / np.max(np.abs(reference))
        found["error"] = float(error)
    if report is not None:
        found["methods"] = [str(layer.method) for layer in report.layers]
        found["iterations"] = [_number(layer.iterations) for layer in report.layers]
        found["residuals"] = [_number(layer.residual) for layer in report.layers]
    return found


def _number(value):
    return None if value is None else float(np.max(np.asarray(value)))


class _Torch:
    def __init__(self, adapter):
        self.flow_of = adapter.flow_of

    def values(self, case, z):
        import torch

        with torch.no_grad():
            x, _ = self.flow_of(case).forward_and_log_det(torch.tensor(z, device=case.device))
        return x.cpu().numpy()

    def doubled(self, case, z):
        import torch

        with torch.no_grad():
            flow = self.flow_of(case, torch.float64)
            return flow.forward_and_log_det(torch.tensor(z).double())[0].numpy()

    def report(self, case, z):
        import torch

        import pyro_flowkit

        if not hasattr(pyro_flowkit, "round_trip"):
            return None
        values = torch.tensor(z, device=case.device)
        return pyro_flowkit.round_trip(self.flow_of(case), values, direction="forward")


class _Jax:
    def __init__(self, adapter):
        self.flow_of = adapter.flow_of

    def values(self, case, z):
        return np.asarray(self.flow_of(case).forward_and_log_det(z)[0])

    def doubled(self, case, z):
        import jax

        with jax.enable_x64(True):
            flow = self.flow_of(case, jax.numpy.float64)
            z = jax.numpy.asarray(z, jax.numpy.float64)
            return np.asarray(flow.forward_and_log_det(z)[0])

    def report(self, case, z):
        import numpyro_flowkit

        if not hasattr(numpyro_flowkit, "round_trip"):
            return None
        return numpyro_flowkit.round_trip(self.flow_of(case), z, direction="forward")

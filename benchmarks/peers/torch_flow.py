"""What an adapter of a torch library returns, and how its operations are called."""

from collections.abc import Callable
from dataclasses import dataclass

import torch


def as_it_is(values):
    """A point of most libraries is a plain tensor."""
    return values


@dataclass(frozen=True)
class TorchFlow:
    """One library's flow.

    Args:
        parameters: every weight.
        score: x -> (z, log_det), data to base; None where there is no inverse.
        sample: z -> x, base to data, by the cheapest way that the library has.
        sample_and_log_det: z -> (x, log_det).
        log_det: z -> log-determinant alone, of linear layers only.
        point: turns a (batch, D) tensor into what the functions take.
    """

    parameters: list
    score: Callable | None
    sample: Callable
    sample_and_log_det: Callable
    log_det: Callable | None = None
    point: Callable = as_it_is


def redraw(module):
    """Draw weights and biases of dense layers and convolutions uniformly from +-1/sqrt(fan_in)."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            bound = layer.weight[0].numel() ** -0.5
            torch.nn.init.uniform_(layer.weight, -bound, bound)
            torch.nn.init.uniform_(layer.bias, -bound, bound)
    return module


def fill(*parameters, dim):
    """Draw the arrays of a linear map uniformly from +-1/sqrt(dim)."""
    for parameter in parameters:
        torch.nn.init.uniform_(parameter, -(dim**-0.5), dim**-0.5)


def chain(layers, values):
    """Apply functions value -> (value, log_det) one after the other."""
    total = 0.0
    for layer in layers:
        values, log_det = layer(values)
        total = total + log_det
    return values, total


class TorchOperation:
    """One operation, ready to be called with fresh inputs."""

    compile_seconds = None

    def __init__(self, flow, case, operation):
        self.case = case
        self.flow = flow
        self.generator = torch.Generator().manual_seed(1)
        if operation == "log_det" and flow.log_det is None:
            raise ValueError("no log-determinant of its own")
        if operation in ("score", "score_grad") and flow.score is None:
            raise ValueError("no inverse")
        self.call = {
            "score": self._plain(flow.score),
            "sample": self._plain(flow.sample),
            "log_det": self._plain(flow.log_det),
            "score_grad": self._with_gradient(flow.score),
            "sample_grad": self._with_gradient(flow.sample_and_log_det),
        }[operation]

    def fresh(self):
        """An input that no call has seen: some libraries cache by tensor identity."""
        values = torch.randn(self.case.batch, self.case.dim, generator=self.generator)
        values = values.to(self.case.device).reshape(-1, *self.case.event_shape)
        return self.flow.point(values)

    def wait(self):
        """Return once the device has finished."""
        if self.case.device == "cuda":
            torch.cuda.synchronize()

    def _plain(self, function):
        def call(values):
            with torch.no_grad():
                function(values)

        return call

    def _with_gradient(self, function):
        def call(values):
            values.requires_grad_()
            outputs, log_det = function(values)
            loss = (0.5 * outputs.square().sum() - log_det.sum()) / len(values)
            torch.autograd.grad(loss, [values, *self.flow.parameters])

        return call

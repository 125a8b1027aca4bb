"""Adam on the ELBO of a guide."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit_core.fitting import GuideFitSettings, Window
from flowkit_core.fitting.guide_settings import EVALUATION_CHUNK, EVALUATION_DRAWS
from flowkit_core.fitting.state import Arrays
from pyro_flowkit.guides.devices import cuda_devices
from pyro_flowkit.guides.objectives import Objective, chunks
from pyro_flowkit.process_group import Group


class GuideTrainer:
    """Steps of one guide (`flowkit_core.fitting.guide_loop.GuideTrainer`).

    One fused Adam moves all parameters; Pyro's own optimisers make one object per parameter.
    """

    def __init__(
        self,
        objective: Objective,
        settings: GuideFitSettings,
        chunk_size: int | None,
        group: Group | None = None,
    ) -> None:
        self._objective = objective
        self._settings = settings
        self._group = group or Group(None)
        self._own_particles = self._group.share(settings.num_particles)
        self._chunks = tuple(chunks(self._own_particles, chunk_size or self._own_particles))
        self._parameters = objective.parameters
        self._average: list[Tensor] = []
        self._num_averaged = 0
        self._start_optimizer()

    def _start_optimizer(self) -> None:
        self._optimizer = torch.optim.Adam(list(self._parameters.values()), fused=True)

    def run(self, window: Window, *, seed: tuple[int, int]) -> tuple[NDArray[np.float64], int]:
        """Take the steps of a window."""
        losses = np.empty(len(window.rates))
        skipped = 0
        # Each process draws its own particles.
        with self._seeded((*seed, self._group.rank) if self._group.size > 1 else seed):
            for i, rate in enumerate(window.rates):
                losses[i], usable = self._backward(path_gradient=window.path_gradient)
                if usable:
                    self._optimizer.param_groups[0]["lr"] = float(rate)
                    self._optimizer.step()
                skipped += not usable
                if window.average:
                    self._add_to_average()
        return losses, skipped

    def _backward(self, *, path_gradient: bool) -> tuple[float, bool]:
        """Leave the clipped gradient in the parameters; the loss, and whether both are finite."""
        for parameter in self._parameters.values():
            parameter.grad = None
        total = 0.0
        for count in self._chunks:  # each one's graph is gone before the next
            loss = self._objective.loss(count, path_gradient=path_gradient)
            loss = loss * (count / self._own_particles)
            if loss.requires_grad:
                loss.backward()
            total += loss.item()
        if self._group.size > 1:
            total = self._averaged_gradient(total)
        norm = _clip(self._parameters.values(), self._settings.max_grad_norm)
        return total, bool(np.isfinite(total) and torch.isfinite(norm))

    def _averaged_gradient(self, loss: float) -> float:
        """Leave the mean of all processes' gradients in the parameters; the mean of their losses.

        A number that is not finite in one of them is not finite in the mean.
        """
        gradients = [p.grad for p in self._parameters.values() if p.grad is not None]
        like = next(iter(self._parameters.values()))
        mean = torch.tensor([loss], dtype=like.dtype, device=like.device)
        self._group.average([*gradients, mean])
        return float(mean)

    @torch.no_grad()
    def _add_to_average(self) -> None:
        values = [p.detach() for p in self._parameters.values()]
        self._num_averaged += 1
        if not self._average:
            self._average = [value.clone() for value in values]
        else:
            torch._foreach_lerp_(self._average, values, 1 / self._num_averaged)

    @contextmanager
    def _seeded(self, numbers: tuple[int, ...]) -> Iterator[None]:
        """Torch's global generators seeded from some numbers, and put back afterwards."""
        (seed,) = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
        like = next(iter(self._parameters.values()))
        with torch.random.fork_rng(devices=cuda_devices(like)):
            torch.manual_seed(int(seed) % 2**63)
            yield

    def evaluate(self, weights: Arrays) -> tuple[float, float]:
        """ELBO at these weights and its standard error."""
        before = self.weights()
        self._copy_in(weights)
        with self._seeded((self._settings.seed, 0)):
            elbos = self._objective.elbos(EVALUATION_DRAWS, EVALUATION_CHUNK)
        self._copy_in(before)
        # The same draws in every process, so that shares of the data make up the whole of it.
        self._group.average([elbos])
        numbers = elbos.double().cpu().numpy()
        return float(numbers.mean()), float(numbers.std(ddof=1) / np.sqrt(len(numbers)))

    def weights(self) -> Arrays:
        """A copy of the weights."""
        return {name: p.detach().cpu().numpy().copy() for name, p in self._parameters.items()}

    def average(self) -> Arrays:
        """Mean of the weights over the steps that were averaged."""
        if not self._num_averaged:
            return {}
        pairs = zip(self._parameters, self._average, strict=True)
        return {name: mean.cpu().numpy().copy() for name, mean in pairs}

    def set_weights(self, arrays: Arrays) -> None:
        """Put weights back, and start the optimiser and the average anew."""
        self._copy_in(arrays)
        self._average, self._num_averaged = [], 0
        self._start_optimizer()

    @torch.no_grad()
    def _copy_in(self, arrays: Arrays) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(torch.from_numpy(arrays[name]))

    def state(self) -> Arrays:
        """Weights, Adam's moments and the average."""
        arrays = {f"weight/{k}": v for k, v in self.weights().items()}
        arrays |= {f"average/{k}": v for k, v in self.average().items()}
        arrays["num_averaged"] = np.array(self._num_averaged)
        for name, parameter in self._parameters.items():
            for key, value in self._optimizer.state.get(parameter, {}).items():
                arrays[f"{key}/{name}"] = value.detach().cpu().numpy().copy()
        return arrays

    def set_state(self, arrays: Arrays) -> None:
        """Put such a state back."""
        self.set_weights({name: arrays[f"weight/{name}"] for name in self._parameters})
        self._num_averaged = int(arrays["num_averaged"])
        self._average = [
            torch.from_numpy(arrays[f"average/{name}"]).to(p)
            for name, p in self._parameters.items()
            if self._num_averaged
        ]
        for name, parameter in self._parameters.items():
            keys = [k for k in ("step", "exp_avg", "exp_avg_sq") if f"{k}/{name}" in arrays]
            if keys:
                moments = {k: torch.from_numpy(arrays[f"{k}/{name}"]) for k in keys}
                self._optimizer.state[parameter] = moments
        # load_state_dict moves the moments to the parameters' device and dtype.
        self._optimizer.load_state_dict(self._optimizer.state_dict())


@torch.no_grad()
def _clip(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale gradients down to a Euclidean norm; the norm that they had.

    As `torch.nn.utils.clip_grad_norm_`, which moves every array's norm by itself and for a small
    flow takes as long as the optimiser.
    """
    moved = [p for p in parameters if p.grad is not None]
    gradients = [p.grad for p in moved if p.grad is not None]
    if len({gradient.device for gradient in gradients}) != 1:
        return torch.nn.utils.clip_grad_norm_(moved, max_norm)
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, torch.clamp(max_norm / (norm + 1e-6), max=1.0))
    return norm

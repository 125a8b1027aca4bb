"""Fits in Pyro: maximum likelihood with noise drawn anew, then what is measured of the flow."""

import copy
import time

import torch

import pyro_flowkit as fk
from tutorials.images import outcome
from tutorials.images.data import NUM_LEVELS
from tutorials.images.models import DIM, spec_of


def run(model, digits, settings):
    """Fit and measure a model: an `Outcome`."""
    began = time.perf_counter()
    generator = torch.Generator().manual_seed(settings.seed)
    flow = fk.build(spec_of(model, settings), seed=settings.seed)
    fk.start_from_data(flow, *_data(flow, digits.train, generator))
    curve = train(flow, digits, settings, generator)
    seconds = time.perf_counter() - began
    with torch.no_grad():
        bits = [
            _bits(flow, *_data(flow, digits.held_out, generator)) for _ in range(settings.noises)
        ]
        return outcome.Outcome(
            model,
            num_parameters=flow.spec.num_parameters,
            bits=torch.stack(bits).mean(0).double().numpy(),
            drawn=_drawn(flow, settings).numpy(),
            ways=None if flow.context_dim else _ways(flow, digits.held_out, generator).numpy(),
            curve=curve,
            seconds=seconds,
        )


def train(flow, digits, settings, generator):
    """Fit in place, to the best of its epochs; returns validation bits at each look."""
    optimiser = torch.optim.Adam(flow.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs)
    best, curve = None, []
    for number in range(1, settings.epochs + 1):
        x, context = _data(flow, digits.train, generator)
        order = torch.randperm(len(x), generator=generator)
        for rows in order[: settings.steps(len(x)) * settings.batch_size].split(
            settings.batch_size
        ):
            optimiser.zero_grad()
            _bits(flow, x[rows], None if context is None else context[rows]).mean().backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), settings.max_grad_norm)
            optimiser.step()
        schedule.step()
        if number % settings.check_every == 0 or number == settings.epochs:
            with torch.no_grad():
                found = _bits(flow, *_data(flow, digits.validation, generator)).mean().item()
            if best is None or found < min(bits for _, bits in curve):
                best = copy.deepcopy(flow.state_dict())
            curve.append((number, found))
    flow.load_state_dict(best)
    return curve


def _data(flow, part, generator):
    """Images in [0, 1) with noise of their own, and the classes for a flow that is told them."""
    x = fk.dequantise(torch.from_numpy(part.levels), NUM_LEVELS, generator=generator)
    return x, torch.from_numpy(part.classes) if flow.context_dim else None


def _bits(flow, x, context):
    log_prob = fk.FlowDistribution(flow, context=context).log_prob(x)
    return fk.bits_per_dim(log_prob, DIM, NUM_LEVELS)


def _drawn(flow, settings):
    torch.manual_seed(settings.seed)  # torch's distributions draw from the global stream
    if flow.context_dim:
        context = torch.from_numpy(outcome.classes_to_draw())
        return fk.FlowDistribution(flow, context=context).sample()
    return fk.FlowDistribution(flow).sample((outcome.NUM_DRAWN,))


def _ways(flow, held_out, generator):
    x, _ = _data(flow, held_out, generator)
    first, last = (flow.inv(x[rows]).numpy() for rows in outcome.ends(held_out))
    return flow(torch.from_numpy(outcome.ways_between(first, last)))

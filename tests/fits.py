"""Settings of a fit that both wings refuse: name, value, type of the error."""

import math

BAD_SETTINGS = {
    "validation": [(1.0, ValueError), (-0.1, ValueError), ("0.1", TypeError), (0.001, ValueError)],
    "batch_size": [(0, ValueError), (1.5, TypeError)],
    "num_epochs": [(0, ValueError), (True, TypeError)],
    "learning_rate": [(0.0, ValueError), (math.nan, ValueError), ("1e-3", TypeError)],
    "schedule": [("linear", ValueError), (None, ValueError)],
    "max_grad_norm": [(-1.0, ValueError), (math.inf, ValueError)],
    "patience": [(0, ValueError), (2.0, TypeError)],
    "seed": [(-1, ValueError), (0.5, TypeError)],
}
BAD_SETTING_CASES = [(name, *case) for name, cases in BAD_SETTINGS.items() for case in cases]

# Settings of a guide's fit: value, type of the error, words of the message.
BAD_GUIDE_SETTINGS = {
    "num_steps": (0, ValueError, "num_steps: expected an integer >= 1, got 0"),
    "num_particles": (1.5, TypeError, "num_particles: expected an integer, got 1.5"),
    "learning_rate": (-1, ValueError, "learning_rate: expected a finite number > 0, got -1"),
    "max_grad_norm": (0.0, ValueError, "max_grad_norm: expected a finite number > 0"),
    "gradient": ("foo", ValueError, "gradient: expected one of 'auto', 'path', 'total', got 'foo'"),
    "warm_start": ("foo", ValueError, "warm_start: expected one of 'laplace', 'pathfinder', got"),
    "num_starts": (0, ValueError, "num_starts: expected an integer >= 1, got 0"),
    "chunk_size": (0, ValueError, "chunk_size: expected an integer >= 1, got 0"),
    "max_seconds": (0, ValueError, "max_seconds: expected a finite number > 0, got 0"),
    "seed": (-1, ValueError, "seed: expected an integer >= 0, got -1"),
}

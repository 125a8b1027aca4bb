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

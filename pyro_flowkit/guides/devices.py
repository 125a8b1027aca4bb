"""Which of torch's generators a computation on a tensor's device draws from."""

from torch import Tensor


def cuda_devices(like: Tensor) -> list[int]:
    """The CUDA devices to name to ``torch.random.fork_rng`` beside the CPU."""
    return [like.device.index or 0] if like.device.type == "cuda" else []

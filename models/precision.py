"""Where mixed precision ends: sums over many numbers are made in the precision of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

HALVES = (torch.bfloat16, torch.float16)


def widened(*tensors: Tensor) -> Iterator[Tensor]:
    """Those that autocast made half as wide in float32, the others as they are."""
    return (tensor.float() if tensor.dtype in HALVES else tensor for tensor in tensors)


@contextmanager
def full_precision(tensor: Tensor) -> Iterator[None]:
    """No autocast on the tensor's device."""
    with torch.autocast(tensor.device.type, enabled=False):
        yield

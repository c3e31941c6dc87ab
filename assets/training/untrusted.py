"""A checkpoint may come from anywhere: what its manifest says is held to bounds before anything is read or built by it.

A digest tells damage, not intent: whoever writes weights writes their digest too. So names stay in the checkpoint's
folder, nothing larger than the manifest or the bounds say is read, and no net is built that its weights could not fill.
"""

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.overrides import TorchFunctionMode

MANIFEST_BYTES: Final = 1 << 26
WEIGHTS_BYTES: Final = 1 << 35
"""Of weights whose manifest does not say how many bytes they have, as it did not before it was asked to."""

NAMES: Final = re.compile(r"(weights-[0-9a-f]{16}\.safetensors|ids-\d{1,6}-[0-9a-f]{16}\.parquet)")

SPARE: Final = 1 << 18
"""Numbers that a net may hold beside its weights: buffers that are made anew."""

LEAST: Final = 1024
"""Numbers that any tensor counts as, so that a loop over tiny ones ends too."""

_BY_SIZE: Final = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn}
_BY_FIRST: Final = {torch.full, torch.arange, torch.eye, torch.linspace}


class UntrustedError(RuntimeError):
    """A file is not what its manifest may say of it; the message says how it differs, the caller what to do."""


def refuse_names(files: Sequence[Any]) -> None:
    """Refuse names of files that :mod:`assets.training.checkpoints` never gives, above all paths.

    Raises:
        UntrustedError: naming the first.
    """
    if strange := [name for name in files if not (isinstance(name, str) and NAMES.fullmatch(name))]:
        raise UntrustedError(f"names the file {strange[0]!r}, which no checkpoint of Thaw has")


def read_weights(path: Path, entry: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights in ``path``, as ``entry`` of the manifest describes them.

    Raises:
        UntrustedError: for another size or digest, or what is no safetensors file.
    """
    size, said = path.stat().st_size, entry.get("bytes")
    if (said is not None and said != size) or size > WEIGHTS_BYTES:
        raise UntrustedError(f"{path} is damaged (it has {size} bytes, the manifest says {said or 'nothing'})")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise UntrustedError(f"{path} is damaged (its digest is not the manifest's)")
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise UntrustedError(f"{path} is damaged (it is no safetensors file: {error})") from error


class Budget(TorchFunctionMode):
    """Inside the block, new tensors may hold ``numbers`` in all.

    Raises:
        UntrustedError: from what makes the tensor that is too much, before it is made.
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self._left = numbers

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        if func in _BY_SIZE or func in _BY_FIRST:
            self._left -= max(LEAST, _numbers(func, args, kwargs))
            if self._left < 0:
                raise UntrustedError("describes a net that is larger than its weights")
        return func(*args, **kwargs)


def _numbers(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Numbers of a tensor about to be made; of ``arange`` and its like at most."""
    given = kwargs.get("size", args[:1] if func in _BY_FIRST else args)
    if len(given) == 1 and not isinstance(given[0], int | float):
        given = given[0]
    return math.prod(int(each) for each in given)


def budget_of(weights: Mapping[str, Tensor]) -> Budget:
    """Room for a net with these weights: what its initialisation makes twice is counted twice."""
    return Budget(2 * sum(max(LEAST, each.numel()) for each in weights.values()) + SPARE)

"""What every network here shares: its device, weights from a path, images as tensors. torch is imported when needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from lbr.errors import ConfigError
from lbr.parallel import limit_torch

if TYPE_CHECKING:
    import torch

Network = TypeVar("Network", bound="torch.nn.Module")

WRAPPINGS = ("state_dict", "model")  # keys under which checkpoints carry their weights
PARALLEL_PREFIX = "module."


def pick_device(name: str) -> str:
    """'auto' -> 'cuda' where there is one, else 'cpu'. Raises ConfigError for one that is not there."""
    import torch

    limit_torch()
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device: {name} is not to be had ({str(error).splitlines()[0]}); set auto, or cpu") from None
    return name


def load_weights(module: torch.nn.Module, path: Path, may_miss: tuple[str, ...] = ()) -> None:
    """Load a checkpoint into a module, strictly but for buffers named in `may_miss`.

    Raises ConfigError when the file is missing, is no checkpoint, or does not fit.
    """
    load_strictly(module, unwrapped(read_weights(path)), path, may_miss)


def read_weights(path: Path) -> dict[str, Any]:
    """What torch.load reads with weights_only. Raises ConfigError when the file is missing or no checkpoint."""
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such weights file") from None
    except Exception as error:  # torch tells a broken file in many ways, with long advice
        raise ConfigError(f"{path}: not a checkpoint of weights ({type(error).__name__} when it was read)") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds a {type(content).__name__}, not the weights of a network")
    return content


def unwrapped(content: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The state dict inside whatever it is wrapped in, without the prefix of data parallel training."""
    for wrapping in WRAPPINGS:
        if isinstance(content.get(wrapping), dict):
            content = content[wrapping]
    return {name.removeprefix(PARALLEL_PREFIX): tensor for name, tensor in content.items()}


def load_strictly(
    module: torch.nn.Module, state: dict[str, torch.Tensor], path: Path, may_miss: tuple[str, ...] = ()
) -> None:
    """Every tensor and no other, but for those in `may_miss`. Raises ConfigError saying what differs."""
    own = module.state_dict()
    missing = [k for k in own if k not in state and k not in may_miss]
    unknown = [k for k in state if k not in own]
    other = [k for k in own if k in state and own[k].shape != state[k].shape]
    kinds = {"missing": missing, "unknown": unknown, "of another shape": other}
    wrong = [f"{len(names)} {what} ({names[0]}, ...)" for what, names in kinds.items() if names]
    if wrong:
        raise ConfigError(f"{path}: the weights are not of {type(module).__name__}: {'; '.join(wrong)}")
    module.load_state_dict(state, strict=False)


def to_tensor(image: np.ndarray, device: str) -> torch.Tensor:
    """RGB uint8 [H, W, 3] -> float tensor [1, 3, H, W] in 0..1."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(device).float() / 255


def to_arrays(*tensors: torch.Tensor) -> tuple[np.ndarray, ...]:
    return tuple(t.detach().float().cpu().numpy() for t in tensors)


def pretrained(make: Any, what: str, **options: Any) -> Any:
    """kornia's own download of `what`. Raises ConfigError, saying what to do, when there is no network."""
    try:
        return make(**options)
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"{what}: its weights could not be downloaded ({type(error).__name__}); "
            "download them elsewhere and name the file in extractor.weights"
        ) from None


def channels_last(network: Network, device: str) -> Network:
    """The network on its device, in the memory layout that convolutions are fastest in."""
    import torch

    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stubs


@contextmanager
def single_torch_thread() -> Iterator[None]:
    """One thread of torch inside the block: the last bits of its convolutions depend on their number on some
    processors."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def folded(part: torch.nn.Module) -> torch.nn.Module:
    """The part, which is not training, with every norm that follows a convolution folded into it.

    A part whose code torch.fx cannot follow (some of timm's) stays as it is: the same result, slower.
    """
    from torch import fx
    from torch.fx.experimental.optimization import fuse

    try:
        return fuse(part)
    except (fx.proxy.TraceError, TypeError, AttributeError, NotImplementedError):
        return part

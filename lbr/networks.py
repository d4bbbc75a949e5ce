"""What every network here shares: its device, weights from a path, images as tensors. torch is imported when needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lbr.errors import ConfigError

if TYPE_CHECKING:
    import torch


def pick_device(name: str) -> str:
    """'auto' -> 'cuda' where there is one, else 'cpu'."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def load_weights(module: torch.nn.Module, path: Path, may_miss: tuple[str, ...] = ()) -> None:
    """Load a checkpoint into a module, strictly but for buffers named in `may_miss`.

    Read with weights_only. Raises ConfigError when the file is missing, is no checkpoint, or does not fit.
    """
    import torch

    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such weights file") from None
    except Exception as error:  # torch tells a broken file in many ways, with long advice
        raise ConfigError(f"{path}: not a checkpoint of weights ({type(error).__name__} when it was read)") from None
    if not isinstance(state, dict):
        raise ConfigError(f"{path}: holds a {type(state).__name__}, not the weights of a network")
    state = state.get("state_dict", state)
    missing, unexpected = _fit(module, state)
    missing -= set(may_miss)
    if missing or unexpected:
        shown = ", ".join(sorted(missing | unexpected)[:3])
        raise ConfigError(
            f"{path}: the weights are not of {type(module).__name__}: "
            f"{len(missing)} tensors missing or of another shape, {len(unexpected)} unknown ({shown}, ...)"
        )
    module.load_state_dict(state, strict=False)


def _fit(module: torch.nn.Module, state: dict[str, Any]) -> tuple[set[str], set[str]]:
    own = module.state_dict()
    fitting = {k for k, v in state.items() if k in own and own[k].shape == v.shape}
    return set(own) - fitting, set(state) - set(own)


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

"""The precision in which a model computes, `float32` or `bfloat16`."""

from __future__ import annotations

import torch

from reuseprior.errors import UserError


def check(precision: str, device: torch.device, error: type[UserError]) -> None:
    """Raise `error` for a precision that the device does not have."""
    supported = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bfloat16" and not supported:
        raise error(
            f"precision is 'bfloat16', which {torch.cuda.get_device_name(device)} does not have: "
            "set precision to float32"
        )


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which a model computes in this precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")

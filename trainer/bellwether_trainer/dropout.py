"""Dropout whose masks are slices of one pool that was drawn beforehand.

On a processor torch draws each mask value by value from one generator, which took two thirds of a training step here.
A slice that starts at a random place of eight million drawn values costs a multiplication, and which of two places
that lie that far apart fall out together no model can learn.
"""

import random

import torch
from torch import Tensor, nn

POOL_VALUES = 1 << 23


class PooledDropout(nn.Module):
    """Zeroes a share of the values in training, scales the rest up; the identity otherwise. No state of its own."""

    def __init__(self, pool: Tensor, chance: random.Random) -> None:
        super().__init__()
        self._pool = pool
        self._chance = chance

    def forward(self, values: Tensor) -> Tensor:
        """Shape and type as the values."""
        if not self.training:
            return values
        count = values.numel()
        if count > len(self._pool):
            raise ValueError(f"{count} values in one layer, the pool holds {len(self._pool)}")
        start = self._chance.randrange(len(self._pool) - count + 1)
        return values * self._pool[start : start + count].view(values.shape).to(values.dtype)


def install(model: nn.Module, share: float, seed: int) -> random.Random:
    """Puts pooled dropout in the place of every dropout of hidden values; that of attention weights goes.

    Returns the generator of the slices, so that a run that goes on can set it anew.
    """
    chance = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(POOL_VALUES, generator=generator) >= share
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    pool = (kept.float() / (1.0 - share)).to(device, torch.bfloat16)
    _replace(model, pool, chance)
    return chance


def _replace(module: nn.Module, pool: Tensor, chance: random.Random) -> None:
    attention = hasattr(module, "query") and hasattr(module, "key")
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout | PooledDropout):
            setattr(module, name, nn.Dropout(0.0) if attention else PooledDropout(pool, chance))
        else:
            _replace(child, pool, chance)

"""Weights that were read back from an int8 graph, trained a little, and go into an int8 graph again.

They lie on the steps of that graph, and a refresh moves them by a few hundredths of a step: rounded to the nearest
one, all of them would fall back to where they were, and nothing would have been learnt. Rounded up with the probability
of what is left over (stochastic rounding, Gupta et al., 2015) they are where they should be on average, and a product
of hundreds of them is nearly right. What lies on a step stays. The least and the greatest of each scale stay too, so
that the quantiser finds the same scale again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Grid:
    """Where a parameter's values lay in the graph. All have a shape that broadcasts to the parameter's."""

    levels: Tensor
    """Whole numbers."""
    step: Tensor
    """What a level is worth."""
    low: Tensor
    """The least level of those that share a scale."""
    high: Tensor


def grid(value: Tensor, step: Tensor) -> Grid:
    """Of a parameter that was read back; `step` has one entry, or one a channel with the others' length 1."""
    levels = torch.round(value / step)
    shared = [axis for axis in range(value.ndim) if step.ndim != value.ndim or step.shape[axis] == 1]
    return Grid(levels, step, levels.amin(dim=shared, keepdim=True), levels.amax(dim=shared, keepdim=True))


@torch.no_grad()
def settle(model: nn.Module, grids: Mapping[str, Grid], seed: int) -> None:
    """Puts the parameters on their steps again, in place. The same seed gives the same ones."""
    chance = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name in grids:
            held = grids[name]
            moved = torch.floor(parameter / held.step + torch.rand(parameter.shape, generator=chance))
            # What has not moved may miss its level by the last bit.
            still = (parameter / held.step - held.levels).abs() < 1e-3
            ends = (held.levels == held.low) | (held.levels == held.high)
            levels = torch.where(still | ends, held.levels, moved.clamp(held.low, held.high))
            parameter.copy_(levels * held.step)

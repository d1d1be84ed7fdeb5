"""A classifier small enough to train robustly in class: one block of `transformer` over MiniLM's word vectors."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from llmsafety_lab.attention.layers import padding_mask
from llmsafety_lab.attention.transformer import Block, TransformerConfig
from llmsafety_lab.fine_tuning.classifier import mean_pool


class SmallClassifier(nn.Module):
    """MiniLM's word vectors, which stay as they are, made narrower; one Transformer block; a mean; two logits.

    Parameters
    ----------
    table : Float[Tensor, "vocabulary wide"]
        The word vectors. Were they trained, the model could grow them, and a budget in their units would shrink.
    width, heads : int
        Of the block.
    """

    def __init__(self, table: Float[Tensor, "vocabulary wide"], width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.words = nn.Embedding.from_pretrained(table)
        self.narrow = nn.Linear(table.shape[1], width)
        self.block = Block(TransformerConfig(len(table), width, heads, 1, 512, causal=False))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, 2)

    def embed(self, input_ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens wide"]:
        """Return the word vectors, which an attack perturbs."""
        return self.words(input_ids)

    def forward(
        self, inputs_embeds: Float[Tensor, "batch tokens wide"], attention_mask: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch classes"]:
        hidden = self.block(self.narrow(inputs_embeds), padding_mask(attention_mask), None)
        return self.head(mean_pool(self.norm(hidden), attention_mask))

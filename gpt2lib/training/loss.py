"""The loss, the figures that follow from it, and what training costs."""

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from gpt2lib.config import GPTConfig
from gpt2lib.data import IGNORED
from gpt2lib.devices import autocast, move
from gpt2lib.generate import evaluating
from gpt2lib.model import GPTModel

Batch = tuple[torch.Tensor, ...]  # inputs and targets, (B, T) each, and what else


def total_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in nats, summed over all tokens; IGNORED targets are skipped.

    Shapes: logits (B, T, V), targets (B, T) -> ()
    """
    return F.cross_entropy(
        logits.flatten(0, -2).float(),
        targets.flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )


class LossOf(nn.Module):
    """A model and its `total_loss`; the output head skips IGNORED positions.

    What training minimises is this, divided by `count`.

    Shapes: inputs (B, T), targets (B, T) -> ()
    """

    def __init__(self, model: GPTModel):
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        hidden, learned = self.model.hidden_states(inputs), targets != IGNORED
        if torch.compiler.is_compiling():  # boolean indexing would break the graph
            return total_loss(self.model.out_head(hidden), targets)
        logits = self.model.out_head(hidden[learned])
        return _LossInPlace.apply(logits, targets[learned])

    def count(self, inputs: torch.Tensor, targets: torch.Tensor) -> int:
        """The number of tokens that a batch is averaged over."""
        return count_tokens(targets)


class _LossInPlace(torch.autograd.Function):
    """`total_loss` that overwrites the logits with their gradient, to save memory.

    They are the largest tensor of training: 206 MB for 4 x 256 tokens of GPT-2.

    Shapes: logits (N, V), targets (N,) -> ()
    """

    @staticmethod
    def forward(ctx, logits, targets):
        loss = torch.zeros((), device=logits.device)
        at_once = 32 if logits.device.type == "cpu" else 4096  # 32 fit in its cache
        for rows, ids in zip(logits.split(at_once), targets[:, None].split(at_once)):
            log_probs = rows.float().log_softmax(dim=-1)
            loss -= log_probs.gather(-1, ids).sum()
            rows.copy_(log_probs.exp_())
            rows.scatter_add_(-1, ids, rows.new_full(ids.shape, -1))
        ctx.save_for_backward(logits)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (own_gradient,) = ctx.saved_tensors
        return own_gradient.mul_(gradient), None


def token_log_probs(
    model: GPTModel, inputs: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """log p of each target in nats, with gradients; 0 where it is IGNORED.

    Shapes: inputs (B, T), targets (B, T) -> (B, T)
    """
    learned = targets != IGNORED
    ends = learned * torch.arange(1, targets.shape[1] + 1, device=targets.device)
    last = max(1, int(ends.max()))  # what follows is read by no target
    hidden = model.hidden_states(inputs[:, :last])
    return log_probs_after(model, hidden[learned[:, :last]], targets)


def log_probs_after(
    model: GPTModel, hidden: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """log p of each target, from the hidden states of those that are not IGNORED.

    Shapes: hidden (targets not IGNORED, C), targets (B, T) -> (B, T)
    """
    learned = targets != IGNORED
    logits = model.out_head(hidden).float()
    chosen = logits.gather(-1, targets[learned][:, None]).squeeze(-1)
    log_probs = chosen - logits.logsumexp(dim=-1)
    return log_probs.new_zeros(targets.shape).masked_scatter(learned, log_probs)


def count_tokens(targets: torch.Tensor) -> int:
    """The number of targets that are not IGNORED."""
    return int((targets != IGNORED).sum().item())


@torch.no_grad()
def evaluate(
    model: GPTModel, batches: Iterable[Batch], precision: str = "float32"
) -> float:
    """Mean cross-entropy in nats per token over (inputs, targets) batches.

    The mean is over tokens, so that large batches weigh more than small ones.

    Raises:
        ValueError: there are no targets, or all are IGNORED.
    """
    loss_of, loss, tokens = LossOf(model), 0.0, 0
    with evaluating(loss_of.modules()):
        for inputs, targets in batches:
            inputs, targets = move(inputs, model.device), move(targets, model.device)
            with autocast(model.device, precision):
                loss += loss_of(inputs, targets).item()
            tokens += count_tokens(targets)
    if not tokens:
        raise ValueError(
            "no token to measure the loss on: give at least one batch, with targets "
            "that are not IGNORED"
        )
    return loss / tokens


def perplexity(loss: float) -> float:
    """exp(loss), with loss in nats per token: the number of equally likely choices.

    >>> round(perplexity(math.log(50)))
    50
    """
    return math.exp(loss) if loss < 709 else math.inf  # exp would overflow


def bits_per_byte(loss: float, tokens: int, bytes_: int) -> float:
    """Nats per token -> bits per byte of text, comparable across tokenizers."""
    return loss / math.log(2) * tokens / bytes_


# --------------------------------------------------------------------------------- cost


def training_flops(cfg: GPTConfig, tokens: int) -> int:
    """Floating-point operations of training: 6 per parameter and token, and attention.

    Source: Kaplan et al. 2020, section 2.1; Chowdhery et al. 2022, appendix B.
    """
    attention = 12 * cfg.n_layers * cfg.emb_dim * cfg.context_length
    return tokens * (6 * cfg.n_params + attention)


def training_memory(cfg: GPTConfig) -> int:
    """Bytes of weights, gradients and AdamW's two moments, without activations."""
    return 4 * 4 * cfg.n_params

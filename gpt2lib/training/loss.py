"""How good a model is, in nats per token, and what training it takes."""

import math

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from gpt2lib.data import IGNORED
from gpt2lib.devices import autocast, move
from gpt2lib.generate import evaluating


def total_loss(logits, targets):
    """Cross-entropy in nats, summed over all tokens; IGNORED targets count nothing.

    Shapes: logits (B, T, V), targets (B, T) -> ()
    """
    return F.cross_entropy(
        logits.flatten(0, -2).float(),
        targets.flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )


class LossOf(nn.Module):
    """A model and its `total_loss`; the head runs only where something is learned.

    Shapes: inputs (B, T), targets (B, T) -> ()
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs, targets):
        hidden, learned = self.model.hidden_states(inputs), targets != IGNORED
        if torch.compiler.is_compiling():  # looks at no values, and fuses on its own
            return total_loss(self.model.out_head(hidden), targets)
        logits = self.model.out_head(hidden[learned])
        return _LossInPlace.apply(logits, targets[learned])


class _LossInPlace(torch.autograd.Function):
    """`total_loss` that writes its gradient over the logits, so they exist only once.

    They are the largest tensor of training: 206 MB for 4 x 256 tokens of GPT-2.

    Shapes: logits (N, V), targets (N,) -> ()
    """

    @staticmethod
    def forward(ctx, logits, targets):
        loss = torch.zeros((), device=logits.device)
        at_once = 32 if logits.device.type == "cpu" else 4096  # what its cache holds
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


def count_tokens(targets):
    """How many targets are to be learned."""
    return (targets != IGNORED).sum().item()


@torch.no_grad()
def evaluate(model, batches, precision="float32"):
    """Mean cross-entropy in nats per token over (inputs, targets) batches.

    A token counts as much in a small batch as in a large one.

    Raises:
        ValueError: there is no token to be judged.
    """
    loss_of, loss, tokens = LossOf(model), 0.0, 0
    with evaluating(loss_of.modules()):
        for inputs, targets in batches:
            inputs, targets = move(inputs, model.device), move(targets, model.device)
            with autocast(model.device, precision):
                loss += loss_of(inputs, targets).item()
            tokens += count_tokens(targets)
    if not tokens:
        raise ValueError("no token to be judged: the batches are empty or all ignored")
    return loss / tokens


def perplexity(loss):
    """Among how many equally likely tokens the model hesitates, from nats per token.

    >>> round(perplexity(math.log(50)))
    50
    """
    return math.exp(loss)


def bits_per_byte(loss, tokens, bytes_):
    """Nats per token -> bits per byte of text, which no choice of tokenizer changes."""
    return loss / math.log(2) * tokens / bytes_


# --------------------------------------------------------------------------------- cost


def training_flops(cfg, tokens):
    """Calculations that training takes: 6 a token and parameter, and attention's own.

    Source: Kaplan et al. 2020, section 2.1; Chowdhery et al. 2022, appendix B.
    """
    attention = 12 * cfg.n_layers * cfg.emb_dim * cfg.context_length
    return tokens * (6 * cfg.n_params + attention)


def training_memory(cfg):
    """Bytes of weights, gradients and AdamW's two means, without activations."""
    return 4 * 4 * cfg.n_params

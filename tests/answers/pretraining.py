"""Wrong and right answers to the exercises of chapter 4."""

import math

import torch

from gpt2lib.course import check
from gpt2lib.data import sliding_windows
from gpt2lib.generate import sample


def summed_loss(logits, targets):
    return torch.nn.functional.cross_entropy(logits, targets, reduction="sum")


def overflowing_loss(logits, targets):
    return -logits.softmax(-1)[range(len(targets)), targets].log().mean()


def rate_from_zero(step, steps, warmup, peak):
    if step < warmup:
        return peak * step / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (steps - 1 - warmup))) / 2


def cosine_over_all_steps(step, steps, warmup, peak):
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * step / (steps - 1))) / 2


def all_but_biases(model):
    return sorted(n for n, _ in model.named_parameters() if not n.endswith("bias"))


def hours_in_seconds(n_params, tokens, gpus, flops, utilisation):
    return 6 * n_params * tokens / (gpus * flops * utilisation)


def hours_on_paper(n_params, tokens, gpus, flops, utilisation):
    return 6 * n_params * tokens / (gpus * flops) / 3600


def loss_of(model, inputs, targets):
    logits = model(inputs).flatten(0, 1)
    return torch.nn.functional.cross_entropy(logits, targets.flatten())


def gradients_kept(model, optimizer, inputs, targets, clip):
    loss = loss_of(model, inputs, targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss.item()


def not_clipped(model, optimizer, inputs, targets, clip):
    loss = loss_of(model, inputs, targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def clipped_one_by_one(model, optimizer, inputs, targets, clip):
    loss = loss_of(model, inputs, targets)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_value_(model.parameters(), clip)
    optimizer.step()
    return loss.item()


def cleared_too_late(model, optimizer, inputs, targets, clip):
    loss = loss_of(model, inputs, targets)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def loss_after_the_step(model, optimizer, inputs, targets, clip):
    optimizer.zero_grad()
    loss_of(model, inputs, targets).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss_of(model, inputs, targets).item()


def everything_drawn(logits, temperature, p, generator):
    shares = (logits / temperature).softmax(dim=-1)
    return torch.multinomial(shares, 1, generator=generator).squeeze(-1)


def last_one_cut(logits, temperature, p, generator):
    shares, ids = (logits / temperature).softmax(-1).sort(-1, descending=True)
    kept = shares.masked_fill(shares.cumsum(-1) > p, 0) + 1e-9
    return ids.gather(-1, torch.multinomial(kept, 1, generator=generator)).squeeze(-1)


def places_for_ids(logits, temperature, p, generator):
    shares = (logits / temperature).softmax(-1).sort(-1, descending=True).values
    kept = shares.masked_fill(shares.cumsum(-1) - shares >= p, 0)
    return torch.multinomial(kept, 1, generator=generator).squeeze(-1)


def temperature_forgotten(logits, temperature, p, generator):
    shares, ids = logits.softmax(-1).sort(-1, descending=True)
    kept = shares.masked_fill(shares.cumsum(-1) - shares >= p, 0)
    return ids.gather(-1, torch.multinomial(kept, 1, generator=generator)).squeeze(-1)


def likeliest(logits, temperature, p, generator):
    return logits.argmax(dim=-1)


def shuffled_then_split(ids, context_length, share=0.9):
    inputs, targets = sliding_windows(ids, context_length, context_length // 4)
    order = torch.randperm(len(inputs))
    cut = int(share * len(order))
    parts = order[:cut], order[cut:]
    return [(inputs[part], targets[part]) for part in parts]


def split_but_overlapping(ids, context_length, share=0.9):
    inputs, targets = sliding_windows(ids, context_length, context_length // 4)
    cut = int(share * len(inputs))
    return (inputs[:cut], targets[:cut]), (inputs[cut:], targets[cut:])


def hardly_anything_held_out(ids, context_length, share=0.9):
    inputs, targets = sliding_windows(ids, context_length)
    return (inputs[:-2], targets[:-2]), (inputs[-1:], targets[-1:])


WRONG = [
    (check.mean_loss, summed_loss, ""),
    (check.mean_loss, overflowing_loss, ""),
    (check.learning_rate, rate_from_zero, ""),
    (check.learning_rate, cosine_over_all_steps, ""),
    (check.decayed, all_but_biases, ""),
    (check.training_step, gradients_kept, "step before are still there"),
    (check.training_step, not_clipped, "not clipped"),
    (check.training_step, clipped_one_by_one, ""),
    (check.training_step, cleared_too_late, ""),
    (check.training_step, loss_after_the_step, "the loss before the step"),
    (check.sample_top_p, everything_drawn, "must never be drawn"),
    (check.sample_top_p, last_one_cut, ""),
    (check.sample_top_p, places_for_ids, ""),
    (check.sample_top_p, temperature_forgotten, ""),
    (check.sample_top_p, likeliest, "it drew"),
    (check.mended_split, shuffled_then_split, "on both sides"),
    (check.mended_split, split_but_overlapping, "on both sides"),
    (check.mended_split, hardly_anything_held_out, ""),
    (check.hours, hours_in_seconds, ""),
    (check.hours, hours_on_paper, ""),
]


def loss_by_logsumexp(logits, targets):
    chosen = logits.gather(-1, targets[:, None]).squeeze(-1)
    return (logits.logsumexp(dim=-1) - chosen).mean().item()


def loss_in_double(logits, targets):
    rows = logits.double().log_softmax(dim=-1)
    return sum(-row[id] for row, id in zip(rows, targets)) / len(targets)


def rate_in_float32(step, steps, warmup, peak):
    if step < warmup:
        return torch.tensor(peak) * (step + 1) / warmup
    done = torch.tensor((step - warmup) / (steps - 1 - warmup))
    return torch.tensor(peak) * (1 + torch.cos(torch.pi * done)) / 2


def rate_by_minimum(step, steps, warmup, peak):
    rising = (step + 1) / warmup if warmup else math.inf
    done = max(0, step - warmup) / (steps - 1 - warmup)
    falling = math.cos(math.pi * done / 2) ** 2
    return peak * (rising if step < warmup else falling)


def decayed_by_loop(model):
    names = []
    for name, parameter in model.named_parameters():
        if len(parameter.shape) > 1:
            names.append(name)
    return tuple(sorted(names))


def decayed_by_name(model):
    return sorted(n for n, _ in model.named_parameters() if n.endswith("weight"))


def hours_step_by_step(n_params, tokens, gpus, flops, utilisation):
    operations = 6 * tokens * n_params
    return operations / flops / utilisation / gpus / 60 / 60


def hours_as_tensor(n_params, tokens, gpus, flops, utilisation):
    rate = torch.tensor(gpus * flops * utilisation * 3600.0, dtype=torch.float64)
    return 6.0 * n_params * tokens / rate


def step_by_the_model(model, optimizer, inputs, targets, clip):
    model.zero_grad()
    loss = loss_of(model, inputs, targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(list(model.parameters()), clip)
    optimizer.step()
    return loss


def step_by_hand(model, optimizer, inputs, targets, clip):
    loss = loss_of(model, inputs, targets)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    norm = sum(g.pow(2).sum() for g in gradients).sqrt()
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = gradient * min(1.0, clip / (norm.item() + 1e-6))
    optimizer.step()
    return loss.detach().double()


def top_p_by_library(logits, temperature, p, generator):
    return sample(logits, temperature, top_p=p, generator=generator)


def top_p_row_by_row(logits, temperature, p, generator):
    points = torch.rand(len(logits), generator=generator).tolist()
    drawn = []
    for row, point in zip((logits / temperature).softmax(dim=-1).tolist(), points):
        kept, reached = [], 0.0
        for id in sorted(range(len(row)), key=row.__getitem__, reverse=True):
            if reached < p:
                kept.append(id)
                reached += row[id]
        rest = point * reached
        while len(kept) > 1 and rest > row[kept[0]]:
            rest -= row[kept.pop(0)]
        drawn.append(kept[0])
    return drawn


def split_by_two_texts(ids, context_length, share=0.9):
    cut = int(share * len(ids))
    train = sliding_windows(ids[:cut], context_length, context_length // 4)
    return train, sliding_windows(ids[cut:], context_length)


def split_by_windows(ids, context_length, share=0.9):
    cut = round(share * len(ids))
    parts = []
    for part in (ids[:cut], ids[cut:]):
        starts = range(0, len(part) - context_length, context_length // 2)
        rows = torch.stack([part[i : i + context_length + 1] for i in starts])
        parts.append((rows[:, :-1], rows[:, 1:]))
    return parts


def split_where_windows_end(ids, context_length, share=0.9):
    inputs, targets = sliding_windows(ids, context_length)
    cut = int(share * len(inputs))
    return [(inputs[:cut], targets[:cut]), (inputs[cut:], targets[cut:])]


RIGHT = [
    (check.mean_loss, loss_by_logsumexp),
    (check.mean_loss, loss_in_double),
    (check.learning_rate, rate_in_float32),
    (check.learning_rate, rate_by_minimum),
    (check.decayed, decayed_by_loop),
    (check.decayed, decayed_by_name),
    (check.hours, hours_step_by_step),
    (check.hours, hours_as_tensor),
    (check.training_step, step_by_the_model),
    (check.training_step, step_by_hand),
    (check.sample_top_p, top_p_by_library),
    (check.sample_top_p, top_p_row_by_row),
    (check.mended_split, split_by_two_texts),
    (check.mended_split, split_by_windows),
    (check.mended_split, split_where_windows_end),
]

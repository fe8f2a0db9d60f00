"""Checkers reject plausible wrong answers; figures draw what they are given."""

import json
import math
import re
from collections import Counter
from fractions import Fraction

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from torch.nn import functional as F

from gpt2lib import GPT2_124M
from gpt2lib.course import check, show
from gpt2lib.course.speed import take_turns
from gpt2lib.data import IGNORED
from gpt2lib.evaluation import wilson
from gpt2lib.finetuning import alpaca_prompt
from gpt2lib.training import Metrics

matplotlib.use("Agg")


def unattempted(*_):
    raise NotImplementedError


def first_pair(ids):
    return ids[0], ids[1]


def longest_token_first(word, merges):
    tokens, made = [], sorted({a + b for a, b in merges}, key=len, reverse=True)
    while word:
        fits = [token for token in made if word.startswith(token)] or [word[:1]]
        tokens.append(fits[0])
        word = word[len(fits[0]) :]
    return tokens


def windows_without_the_last(ids, context_length, stride):
    starts = range(0, len(ids) - context_length - 1, stride)
    return [
        (ids[s : s + context_length], ids[s + 1 : s + context_length + 1])
        for s in starts
    ]


def tie_by_place(ids):
    pairs = list(zip(ids, ids[1:]))
    return max(pairs, key=pairs.count)


def encode_everything_allowed(tokenizer, texts):
    text = "".join(text + "<|endoftext|>" for text in texts)
    return tokenizer.encode(text, allowed_special="all")


def separators_only_between(tokenizer, texts):
    ids = []
    for text in texts:
        ids += [tokenizer.eot_token, *tokenizer.encode_ordinary(text)]
    return ids[1:]


def encode_refusing(tokenizer, texts):
    return [id for text in texts for id in tokenizer.encode(text)]


def softmax_of_everything(scores):
    exponentials = (scores - scores.max()).exp()
    return exponentials / exponentials.sum()


def very_negative_scores(scores):
    future = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -20.0).softmax(dim=-1)


def side_by_side(*matrices):
    return torch.cat(matrices, dim=1)


def whole_batch(x):
    return (x - x.mean()) / torch.sqrt(x.var(correction=0) + 1e-5)


def the_block_itself(block, x):
    return block(x)


def second_shortcut_from_x(block, x):
    return x + block.ff(block.norm2(x + block.att(block.norm1(x))))


def row_loses(rewards):
    return (rewards - rewards[:, None]).sigmoid()


def gaps_of_rewards(rewards):
    return rewards[:, None] - rewards


def best_of_all(rewards):
    return rewards.softmax(-1).expand(len(rewards), -1).T


def rewards_as_strengths(rewards):
    return rewards[:, None] / (rewards[:, None] + rewards)


def without_reference(reference, rewards, beta):
    return (rewards / beta).softmax(-1)


def beta_upside_down(reference, rewards, beta):
    return (reference.log() + rewards * beta).softmax(-1)


def tilted_only(reference, rewards, beta):
    return reference * (rewards / beta).exp()


def divided_by_infinity(reference, rewards, beta):
    tilted = tilted_only(reference, rewards, beta)
    return tilted / tilted.sum()


def reference_forgotten(policy, reference, beta):
    return -F.logsigmoid(beta * (policy[:, 0] - policy[:, 1])).mean()


def columns_swapped(policy, reference, beta):
    gained = policy - reference
    return -F.logsigmoid(beta * (gained[:, 1] - gained[:, 0])).mean()


def beta_outside(policy, reference, beta):
    gained = policy - reference
    return -beta * F.logsigmoid(gained[:, 0] - gained[:, 1]).mean()


def log_of_sigmoid(policy, reference, beta):
    gained = policy - reference
    return -(beta * (gained[:, 0] - gained[:, 1])).sigmoid().log().mean()


def summed_over_pairs(policy, reference, beta):
    gained = policy - reference
    return -F.logsigmoid(beta * (gained[:, 0] - gained[:, 1])).sum()


def votes_of_all(policy, reference, winners, beta):
    gained = policy - reference
    won, lost = gained[:, winners], gained[:, 1 - winners]
    return -F.logsigmoid(beta * (won - lost)).mean()


def losers_win(policy, reference, winners, beta):
    rows, gained = torch.arange(len(winners)), policy - reference
    gap = gained[rows, 1 - winners] - gained[rows, winners]
    return -F.logsigmoid(beta * gap).mean()


def first_always_wins(policy, reference, winners, beta):
    gained = policy - reference
    return -F.logsigmoid(beta * (gained[:, 0] - gained[:, 1])).mean()


def printing(*_):
    print("the right answer")


def windows_without_shift(ids, context_length, stride):
    starts = range(0, len(ids) - context_length, stride)
    return [(ids[s : s + context_length], ids[s : s + context_length]) for s in starts]


def characters_per_token(tokenizer, text):
    return len(text) / len(tokenizer.encode(text))


def overflowing_softmax(scores):
    return scores.exp() / scores.exp().sum(dim=-1, keepdim=True)


def zero_scores(scores):
    return scores.tril().softmax(dim=-1)


def cut_off_only(scores):
    return scores.softmax(dim=-1).tril()


def mask_in_place(scores):
    future = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill_(future, -torch.inf).softmax(dim=-1)


def view_alone(x, n_heads):
    B, T, C = x.shape
    return x.view(B, n_heads, T, C // n_heads)


def unscaled(query, keys, values):
    return (keys @ query).softmax(dim=-1) @ values


def unbiased_variance(x):
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5)


def eps_outside(x):
    mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True, correction=0)
    return (x - mean) / (std + 1e-5)


def head_counted_twice(cfg):
    return cfg.n_params + cfg.vocab_size * cfg.emb_dim


def post_norm(block, x):
    x = block.norm1(x + block.att(x))
    return block.norm2(x + block.ff(x))


def shortcut_after_norm(block, x):
    x = block.norm1(x)
    x = x + block.att(x)
    x = block.norm2(x)
    return x + block.ff(x)


def keys_only(cfg, batch, positions, size):
    return cfg.n_layers * batch * positions * cfg.emb_dim * size


def ends_like_a_mask(name):
    return name.endswith(("attn.bias", "masked_bias", "mask"))


def any_bias_of_attention(name):
    return "attn" in name and "bias" in name or "mask" in name


def masks_of_the_hub_only(name):
    return name.endswith(".attn.bias")


def header_of(data):
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def metadata_kept(data):
    entries = header_of(data).items()
    return {name: tuple(entry.get("shape", ())) for name, entry in entries}


def places_for_shapes(data):
    entries = header_of(data).items()
    return {n: e["data_offsets"] for n, e in entries if n != "__metadata__"}


def cut_but_not_turned(weight, bias):
    return list(zip(weight.chunk(3, dim=1), bias.chunk(3)))


def reshaped(weight, bias):
    return list(zip(weight.reshape(3, 4, 4), bias.chunk(3)))


def every_third(weight, bias):
    return [(weight.T[i::3], bias[i::3]) for i in range(3)]


def values_first(weight, bias):
    return list(zip(weight.T.chunk(3), bias.chunk(3)))[::-1]


def two_lists(weight, bias):
    return weight.T.chunk(3), bias.chunk(3)


def measured(tensors, n_layers):
    vocab_size, emb_dim = tensors["wte.weight"].shape
    context_length = tensors["wpe.weight"].shape[0]
    return dict(
        vocab_size=vocab_size,
        context_length=context_length,
        emb_dim=emb_dim,
        n_layers=n_layers,
    )


def highest_as_text(tensors):
    indices = [name.split(".")[1] for name in tensors if name.startswith("h.")]
    return measured(tensors, int(max(indices)) + 1)


def names_over_twelve(tensors):
    return measured(tensors, sum(name.startswith("h.") for name in tensors) // 12)


def last_index(tensors):
    indices = [int(name.split(".")[1]) for name in tensors if name.startswith("h.")]
    return measured(tensors, max(indices))


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


def no_space(instruction, input):
    return alpaca_prompt(instruction, input).replace(". Write", ".Write")


def one_preamble(instruction, input):
    text = alpaca_prompt(instruction, input)
    return text.replace(", paired with an input that provides further context", "")


def always_an_input(instruction, input):
    return alpaca_prompt(instruction, input or "\0").replace("\0", "")


def response_beside_its_heading(instruction, input):
    return alpaca_prompt(instruction, input).rstrip()


def whole_prompt_masked(prompt, response, end):
    ids = [*prompt, *response, end]
    return ids[:-1], [-100] * len(prompt) + ids[len(prompt) + 1 :]


def not_shifted(prompt, response, end):
    ids = [*prompt, *response, end]
    return ids, [-100] * len(prompt) + ids[len(prompt) :]


def nothing_masked(prompt, response, end):
    ids = [*prompt, *response, end]
    return ids[:-1], ids[1:]


def no_end(prompt, response, end):
    ids = [*prompt, *response]
    return ids[:-1], [-100] * (len(prompt) - 1) + response


def padded(examples, filler, target):
    length = max(len(ids) for ids, _ in examples)
    return [
        (ids + [filler] * (length - len(ids)), t + [target] * (length - len(t)))
        for ids, t in examples
    ]


def filler_is_learned(examples, filler):
    return padded(examples, filler, filler)


def padded_in_front(examples, filler):
    turned = [(ids[::-1], t[::-1]) for ids, t in examples]
    return [(ids[::-1], t[::-1]) for ids, t in padded(turned, filler, -100)]


def cut_to_the_shortest(examples, filler):
    length = min(len(ids) for ids, _ in examples)
    return [(ids[:length], targets[:length]) for ids, targets in examples]


def f1_of_sets(said, wanted):
    said, wanted = set(said.lower().split()), set(wanted.lower().split())
    return 2 * len(said & wanted) / (len(said) + len(wanted))


def f1_with_case(said, wanted):
    shared = (Counter(said.split()) & Counter(wanted.split())).total()
    return 2 * shared / (len(said.split()) + len(wanted.split()))


def recall(said, wanted):
    said, wanted = said.lower().split(), wanted.lower().split()
    return (Counter(said) & Counter(wanted)).total() / len(wanted)


def at_the_last_position(logits, lengths):
    return logits[:, -1]


def one_too_far(logits, lengths):
    return logits[range(len(lengths)), lengths]


def mean_over_the_row(logits, lengths):
    return logits.mean(dim=1)


def recall_precision(labels, predicted):
    both = sum(a and b for a, b in zip(labels, predicted))
    return both / max(1, sum(labels)), both / max(1, sum(predicted))


def scores_of_ham(labels, predicted):
    both = sum(not (a or b) for a, b in zip(labels, predicted))
    return both / max(1, predicted.count(0)), both / max(1, labels.count(0))


def accuracy_twice(labels, predicted):
    right = sum(a == b for a, b in zip(labels, predicted)) / len(labels)
    return right, right


def merged_unscaled(W, A, B, alpha):
    return W + B @ A


def merged_with_alpha(W, A, B, alpha):
    return W + alpha * B @ A


def merged_in_place(W, A, B, alpha):
    W += alpha / len(A) * B @ A
    return W


def fool_without_counting(text, p_spam, additions, n):
    while p_spam(text) >= 0.5:
        text += f" {additions[0] if text.endswith('now') else additions[-1]}"
    return text


def fool_by_appending(text, p_spam, additions, n):
    for _ in range(n):
        text = min((f"{text} {new}" for new in additions), key=p_spam)
    return text


def fool_by_leaving_out(text, p_spam, additions, n):
    return " ".join(word for word in text.split() if word not in ("PIN", "send"))


def fool_in_own_words(text, p_spam, additions, n):
    return f"{text} thanks, honestly"


def only_the_tags(record):
    user, assistant = record["messages"]
    parts = re.findall(r">\s*([^<]*?)\s*</", assistant["content"], re.DOTALL)
    return user["content"], *parts


def without_stripping(record):
    user, assistant = record["messages"]
    info = assistant["info"] or {"think_content": None, "answer_content": None}
    parts = re.findall(r">([^<]+)</", assistant["content"])
    thought = info["think_content"] or parts[0]
    return user["content"], thought, info["answer_content"] or parts[1]


def all_or_nothing(record):
    user, assistant = record["messages"]
    info = assistant["info"] or {}
    if any(info.values()):
        return user["content"], *(str(text).strip() for text in info.values())
    return only_the_tags(record)


def turns_unmasked(turns, end):
    ids = [id for role, said in turns for id in said + [end] * (role == "assistant")]
    return ids[:-1], ids[1:]


def first_turn_masked(turns, end):
    inputs, targets = turns_unmasked(turns, end)
    first = len(turns[0][1]) - 1
    return inputs, [IGNORED] * first + targets[first:]


def one_end(turns, end):
    ids = [id for _, said in turns for id in said] + [end]
    own = [role == "assistant" for role, said in turns for _ in said] + [True]
    return ids[:-1], [i if o else IGNORED for i, o in zip(ids[1:], own[1:])]


def flags_unmoved(turns, end):
    inputs, targets = turns_unmasked(turns, end)
    own = [
        role == "assistant"
        for role, said in turns
        for _ in said + [end] * (role == "assistant")
    ]
    return inputs, [i if o else IGNORED for i, o in zip(targets, own)]


def sums_alone(thought):
    for number, step in enumerate(thought.split(", "), 1):
        task, result = step.split(" = ")
        if eval(task) != int(result):
            return number
    return 0


def joints_alone(thought):
    steps = [step.split() for step in thought.split(", ")]
    for number, (step, after) in enumerate(zip(steps, steps[1:]), 2):
        if step[-1] != after[0]:
            return number
    return 0


def last_result(thought):
    *_, last = thought.split(", ")
    task, result = last.split(" = ")
    return 0 if eval(task) == int(result) else thought.count(",") + 1


def counted_from_zero(thought):
    return max(0, sums_alone(thought) - 1)


def last_of_the_frequent(answers):
    texts = [answer.strip() for answer in answers if answer is not None]
    return max(reversed(texts), key=texts.count)


def largest_of_the_frequent(answers):
    texts = [answer.strip() for answer in answers if answer is not None]
    return max(sorted(set(texts), reverse=True), key=texts.count)


def none_has_a_vote(answers):
    return Counter(a and a.strip() for a in answers).most_common(1)[0][0] or "none"


def votes_with_spaces(answers):
    votes = Counter(answer for answer in answers if answer is not None)
    return votes.most_common(1)[0][0]


def bytes_forgotten(n_weights, size, bandwidth, batch):
    return batch * bandwidth / n_weights


def batch_forgotten(n_weights, size, bandwidth, batch):
    return bandwidth / (n_weights * size)


def seconds_a_token(n_weights, size, bandwidth, batch):
    return n_weights * size / bandwidth / batch


def one_after_the_other(flops, n_bytes, bandwidth, rate):
    return flops / rate + n_bytes / bandwidth


def the_shorter(flops, n_bytes, bandwidth, rate):
    return min(flops / rate, n_bytes / bandwidth)


def scales_of(matrix):
    return (matrix.abs().amax(dim=1, keepdim=True) / 127).clamp(min=1e-9)


def cut_off(matrix):
    scales = scales_of(matrix)
    return (matrix / scales).to(torch.int8), scales


def zeros_divided(matrix):
    scales = matrix.abs().amax(dim=1, keepdim=True) / 127
    scales = scales / (scales > 0)
    return (matrix / scales).round().to(torch.int8), scales


def zero_by_zero(matrix):
    scales = matrix.abs().amax(dim=1, keepdim=True) / 127
    return (matrix / scales).round().to(torch.int8), scales


def one_scale(matrix):
    scales = scales_of(matrix).amax().expand(len(matrix), 1)
    return (matrix / scales).round().to(torch.int8), scales


def still_floats(matrix):
    scales = scales_of(matrix)
    return (matrix / scales).round(), scales


def scales_in_a_row(matrix):
    scales = scales_of(matrix)
    return (matrix / scales).round().to(torch.int8), scales.squeeze()


def right_interval(right, items, z=1.96):
    share, z2 = right / items, z * z
    middle = (share + z2 / (2 * items)) / (1 + z2 / items)
    spread = share * (1 - share) / items + z2 / (4 * items**2)
    half = z * math.sqrt(spread) / (1 + z2 / items)
    return middle - half, middle + half


def share_and_errors(right, items):
    share = right / items
    error = math.sqrt(share * (1 - share) / items)
    return share - 1.96 * error, share + 1.96 * error


def interval_of_one_error(right, items):
    return right_interval(right, items, z=1)


def no_width_if_all_are_right(right, items):
    return right_interval(right, items) if right < items else (1.0, 1.0)


def no_width_if_none_is_right(right, items):
    return right_interval(right, items) if right else (0.0, 0.0)


def half_undivided(right, items):
    return tuple(end * (1 + 1.96**2 / items) for end in right_interval(right, items))


def high_and_low(right, items):
    return right_interval(right, items)[::-1]


def interval_as_texts(right, items):
    return [str(end) for end in right_interval(right, items)]


def only_the_middle(right, items):
    return sum(right_interval(right, items)) / 2


def best_by(size):
    def choose(nats, endings):
        scores = [n / size(ending) for n, ending in zip(nats, endings)]
        return scores.index(max(scores))

    return choose


def best_of_sums(nats, endings):
    return nats.index(max(nats))


def best_by_words(nats, endings):
    return best_by(lambda ending: len(ending.split()))(nats, endings)


def best_by_bytes(nats, endings):
    return best_by(lambda ending: len(ending.encode()))(nats, endings)


def least_likely(nats, endings):
    scores = [n / len(ending) for n, ending in zip(nats, endings)]
    return scores.index(min(scores))


def last_of_equals(nats, endings):
    scores = [n / len(ending) for n, ending in zip(nats, endings)]
    return max(range(len(scores)), key=lambda i: (scores[i], i))


def the_ending_itself(nats, endings):
    return endings[best_by(len)(nats, endings)]


def index_as_text(nats, endings):
    return str(best_by(len)(nats, endings))


def nats_overwritten(nats, endings):
    for i, ending in enumerate(endings):
        nats[i] /= len(ending)
    return nats.index(max(nats))


def slide(ids, start, length, stride, room=0):
    text, windows, done, end = [start, *ids], [], 1, length + 1
    while done < len(text):
        end = min(end, len(text))
        context = text[max(0, end - 1 - length - room) : done]
        windows.append((context, text[done:end]))
        done, end = end, end + stride
    return windows


def start_forgotten(ids, start, length, stride):
    return slide(ids[1:], ids[0], length, stride)


def incomplete_window_dropped(ids, start, length, stride):
    windows = slide(ids, start, length, stride)
    sizes = [length] + [stride] * len(windows)
    return [w for w, size in zip(windows, sizes) if len(w[1]) == size]


def context_too_long(ids, start, length, stride):
    return slide(ids, start, length, stride, room=1)


def last_target_as_input(ids, start, length, stride):
    return slide(ids, start, length - 1, stride) if stride < length else []


def no_more_than_one_before(ids, start, length, stride):
    return [(context[-1:], to) for context, to in slide(ids, start, length, stride)]


def predicted_again_and_again(ids, start, length, stride):
    text = [start, *ids]
    starts = range(0, len(ids), stride)
    return [([text[i]], text[i + 1 : i + 1 + length]) for i in starts]


def stride_from_the_start(ids, start, length, stride):
    text, windows = [start, *ids], []
    for done in range(1, len(text), stride):
        end = min(done + stride, len(text))
        windows.append((text[max(0, end - 1 - length) : done], text[done:end]))
    return windows


def start_put_into_ids(ids, start, length, stride):
    windows = slide(ids, start, length, stride)
    ids.insert(0, start)
    return windows


def targets_alone(ids, start, length, stride):
    return [targets for _, targets in slide(ids, start, length, stride)]


def number_of_windows(ids, start, length, stride):
    return len(slide(ids, start, length, stride))


def ids_as_texts(ids, start, length, stride):
    windows = slide(ids, start, length, stride)
    return [([str(i) for i in a], [str(i) for i in b]) for a, b in windows]


def too_good_to_be_true(batches):
    means = [nats.mean() for nats, is_text in batches]
    return sum(means) / len(means)


def padding_counted(batches):
    total = sum(nats.sum() for nats, _ in batches)
    return total / sum(nats.numel() for nats, _ in batches)


def every_batch_alike(batches):
    means = [nats[is_text].mean() for nats, is_text in batches]
    return sum(means) / len(means)


def every_text_alike(batches):
    means = [(nats.sum(1) / is_text.sum(1)) for nats, is_text in batches]
    return torch.cat(means).mean()


def never_divided(batches):
    return sum(nats.sum() for nats, _ in batches)


def nats_of_each_batch(batches):
    return [nats[is_text].mean() for nats, is_text in batches]


def padding_overwritten(batches):
    total = sum(nats.sum() for nats, _ in batches)
    for nats, is_text in batches:
        nats[~is_text] = 1.0
    return total / sum(is_text.sum() for _, is_text in batches)


def drawn_with_replacement(n, right, k):
    return 1 - (1 - right / n) ** k


def share_of_right(n, right, k):
    return right / n


def none_is_right(n, right, k):
    return math.comb(n - right, k) / math.comb(n, k)


def all_are_right(n, right, k):
    return math.comb(right, k) / math.comb(n, k)


def zero_if_few_are_wrong(n, right, k):
    return 1 - none_is_right(n, right, k) if n - right >= k else 0.0


def standardised(rewards, correction=0):
    table = torch.tensor(rewards)
    above = table - table.mean(dim=1, keepdim=True)
    return above / table.std(dim=1, keepdim=True, correction=correction).clamp(min=1e-6)


def divided_by_zero(rewards):
    table = np.array(rewards)
    with np.errstate(invalid="ignore"):
        return (table - table.mean(1, keepdims=True)) / table.std(1, keepdims=True)


def one_mean_for_all(rewards):
    table = torch.tensor(rewards)
    return (table - table.mean()) / table.std(correction=0)


def not_divided(rewards):
    table = torch.tensor(rewards)
    return table - table.mean(dim=1, keepdim=True)


def loss_of_clipped(new, old, above, learned, clip, pick=torch.minimum, sign=-1):
    ratio, above = (new - old).exp(), above[:, None]
    return sign * pick(ratio * above, ratio.clamp(1 - clip, 1 + clip) * above)[learned]


def clipped_mean(*given):
    return loss_of_clipped(*given).mean()


def towards_the_worst(*given):
    return loss_of_clipped(*given, sign=1).mean()


def the_larger_side(*given):
    return loss_of_clipped(*given, pick=torch.maximum).mean()


def padding_learned(new, old, above, learned, clip):
    return clipped_mean(new, old, above, torch.ones_like(learned), clip)


def never_clipped(new, old, above, learned, clip):
    return -((new - old).exp() * above[:, None])[learned].mean()


def summed_up(*given):
    return loss_of_clipped(*given).sum()


def uphill(logits, arms, rewards, rate, sign=1, baseline=True):
    above = rewards - rewards.mean() * baseline
    towards = F.one_hot(arms, len(logits)) - logits.softmax(dim=0)
    return logits + sign * rate * (above[:, None] * towards).mean(dim=0)


def downhill(*given):
    return uphill(*given, sign=-1)


def without_a_baseline(*given):
    return uphill(*given, baseline=False)


def only_the_arm_pulled(logits, arms, rewards, rate):
    """With the mean as a baseline, what the policy subtracts adds up to nothing."""
    above = (rewards - rewards.mean())[:, None]
    return logits + rate * (above * F.one_hot(arms, len(logits))).mean(dim=0)


def chain_holds(text, answer):
    thought, *answers = text.split("\nAnswer: ")
    number = None
    for step in thought.split(", "):
        found = re.fullmatch(r"(\d+) ([+-]) (\d+) = (\d+)", step)
        if not found or number not in (None, found[1]):
            return 0.0
        number = found[4]
        sign = 1 if found[2] == "+" else -1
        if int(found[1]) + sign * int(found[3]) != int(number):
            return 0.0
    return float(answers == [answer] == [number])


def answer_somewhere(text, answer):
    return float(f"Answer: {answer}" in text)


def last_line_alone(text, answer):
    return float(text.splitlines()[-1] == f"Answer: {answer}")


def sums_unchecked(text, answer):
    thought, *answers = text.split("\nAnswer: ")
    return float(thought.endswith(f"= {answer}") and answers == [answer])


def always_right(text, answer):
    return 1.0


WRONG = [
    (check.format_alpaca, no_space),
    (check.format_alpaca, one_preamble),
    (check.format_alpaca, always_an_input),
    (check.format_alpaca, response_beside_its_heading),
    (check.mask_prompt, whole_prompt_masked),
    (check.mask_prompt, not_shifted),
    (check.mask_prompt, nothing_masked),
    (check.mask_prompt, no_end),
    (check.pad_batch, filler_is_learned),
    (check.pad_batch, padded_in_front),
    (check.pad_batch, cut_to_the_shortest),
    (check.word_f1, f1_of_sets),
    (check.word_f1, f1_with_case),
    (check.word_f1, recall),
    (check.mean_loss, summed_loss),
    (check.mean_loss, overflowing_loss),
    (check.learning_rate, rate_from_zero),
    (check.learning_rate, cosine_over_all_steps),
    (check.decayed, all_but_biases),
    (check.hours, hours_in_seconds),
    (check.hours, hours_on_paper),
    (check.most_frequent_pair, first_pair),
    (check.most_frequent_pair, tie_by_place),
    (check.join_documents, encode_everything_allowed),
    (check.join_documents, separators_only_between),
    (check.join_documents, encode_refusing),
    (check.encode_word, longest_token_first),
    (check.windows, windows_without_the_last),
    (check.windows, windows_without_shift),
    (check.bytes_per_token, characters_per_token),
    (check.softmax, overflowing_softmax),
    (check.softmax, softmax_of_everything),
    (check.causal_weights, very_negative_scores),
    (check.fuse, side_by_side),
    (check.causal_weights, zero_scores),
    (check.causal_weights, cut_off_only),
    (check.causal_weights, mask_in_place),
    (check.split_heads, view_alone),
    (check.attend_last, unscaled),
    (check.layer_norm, unbiased_variance),
    (check.layer_norm, whole_batch),
    (check.block_forward, the_block_itself),
    (check.block_forward, second_shortcut_from_x),
    (check.layer_norm, eps_outside),
    (check.count_parameters, head_counted_twice),
    (check.block_forward, post_norm),
    (check.block_forward, shortcut_after_norm),
    (check.kv_cache_bytes, keys_only),
    (check.is_mask, ends_like_a_mask),
    (check.is_mask, any_bias_of_attention),
    (check.is_mask, masks_of_the_hub_only),
    (check.read_header, metadata_kept),
    (check.read_header, places_for_shapes),
    (check.cut_qkv, cut_but_not_turned),
    (check.cut_qkv, reshaped),
    (check.cut_qkv, every_third),
    (check.cut_qkv, values_first),
    (check.cut_qkv, two_lists),
    (check.measure, highest_as_text),
    (check.measure, names_over_twelve),
    (check.measure, last_index),
    (check.last_token_logits, at_the_last_position),
    (check.last_token_logits, one_too_far),
    (check.last_token_logits, mean_over_the_row),
    (check.precision_recall, recall_precision),
    (check.precision_recall, scores_of_ham),
    (check.precision_recall, accuracy_twice),
    (check.lora_merge, merged_unscaled),
    (check.lora_merge, merged_with_alpha),
    (check.lora_merge, merged_in_place),
    (check.fool, fool_without_counting),
    (check.fool, fool_by_appending),
    (check.fool, fool_by_leaving_out),
    (check.fool, fool_in_own_words),
    (check.parse_record, only_the_tags),
    (check.parse_record, without_stripping),
    (check.parse_record, all_or_nothing),
    (check.mask_turns, turns_unmasked),
    (check.mask_turns, first_turn_masked),
    (check.mask_turns, one_end),
    (check.mask_turns, flags_unmoved),
    (check.follow, sums_alone),
    (check.follow, joints_alone),
    (check.follow, last_result),
    (check.follow, counted_from_zero),
    (check.majority, last_of_the_frequent),
    (check.majority, largest_of_the_frequent),
    (check.majority, none_has_a_vote),
    (check.majority, votes_with_spaces),
    (check.most_tokens, bytes_forgotten),
    (check.most_tokens, batch_forgotten),
    (check.most_tokens, seconds_a_token),
    (check.shortest_time, one_after_the_other),
    (check.shortest_time, the_shorter),
    (check.quantize_rows, cut_off),
    (check.quantize_rows, zeros_divided),
    (check.quantize_rows, zero_by_zero),
    (check.quantize_rows, one_scale),
    (check.quantize_rows, still_floats),
    (check.quantize_rows, scales_in_a_row),
    (check.interval, share_and_errors),
    (check.interval, interval_of_one_error),
    (check.interval, no_width_if_all_are_right),
    (check.interval, no_width_if_none_is_right),
    (check.interval, half_undivided),
    (check.interval, high_and_low),
    (check.interval, interval_as_texts),
    (check.interval, only_the_middle),
    (check.choose, best_of_sums),
    (check.choose, best_by_words),
    (check.choose, best_by_bytes),
    (check.choose, least_likely),
    (check.choose, last_of_equals),
    (check.choose, the_ending_itself),
    (check.choose, index_as_text),
    (check.choose, nats_overwritten),
    (check.sliding, start_forgotten),
    (check.sliding, incomplete_window_dropped),
    (check.sliding, context_too_long),
    (check.sliding, last_target_as_input),
    (check.sliding, no_more_than_one_before),
    (check.sliding, predicted_again_and_again),
    (check.sliding, stride_from_the_start),
    (check.sliding, start_put_into_ids),
    (check.sliding, targets_alone),
    (check.sliding, number_of_windows),
    (check.sliding, ids_as_texts),
    (check.mean_nats, too_good_to_be_true),
    (check.mean_nats, padding_counted),
    (check.mean_nats, every_batch_alike),
    (check.mean_nats, every_text_alike),
    (check.mean_nats, never_divided),
    (check.mean_nats, nats_of_each_batch),
    (check.mean_nats, padding_overwritten),
    (check.pass_at_k, drawn_with_replacement),
    (check.pass_at_k, share_of_right),
    (check.pass_at_k, none_is_right),
    (check.pass_at_k, all_are_right),
    (check.pass_at_k, zero_if_few_are_wrong),
    (check.win_table, row_loses),
    (check.win_table, gaps_of_rewards),
    (check.win_table, best_of_all),
    (check.win_table, rewards_as_strengths),
    (check.best_policy, without_reference),
    (check.best_policy, beta_upside_down),
    (check.best_policy, tilted_only),
    (check.best_policy, divided_by_infinity),
    (check.preference_loss, reference_forgotten),
    (check.preference_loss, columns_swapped),
    (check.preference_loss, beta_outside),
    (check.preference_loss, log_of_sigmoid),
    (check.preference_loss, summed_over_pairs),
    (check.loss_of_votes, votes_of_all),
    (check.loss_of_votes, losers_win),
    (check.loss_of_votes, first_always_wins),
    (check.group_advantages, divided_by_zero),
    (check.group_advantages, one_mean_for_all),
    (check.group_advantages, not_divided),
    (check.group_advantages, lambda rewards: standardised(rewards, correction=1)),
    (check.clipped_loss, towards_the_worst),
    (check.clipped_loss, the_larger_side),
    (check.clipped_loss, padding_learned),
    (check.clipped_loss, never_clipped),
    (check.clipped_loss, summed_up),
    (check.bandit_step, downhill),
    (check.bandit_step, without_a_baseline),
    (check.strict_reward, answer_somewhere),
    (check.strict_reward, last_line_alone),
    (check.strict_reward, sums_unchecked),
    (check.strict_reward, always_right),
]
CHECKERS = {checker for checker, _ in WRONG}
IN_ORDER = sorted(CHECKERS, key=lambda f: f.__name__)  # for all of xdist's workers


@pytest.mark.parametrize(("checker", "answer"), WRONG, ids=lambda f: f.__name__)
def test_a_plausible_wrong_answer_is_rejected(checker, answer, capsys):
    with pytest.raises(check.WrongAnswer):
        checker(answer)
    assert capsys.readouterr().out == ""


def test_every_checker_is_fed_a_wrong_answer():
    every = {f for f in vars(check).values() if hasattr(f, "__wrapped__")}
    assert every == CHECKERS


@pytest.mark.parametrize("checker", IN_ORDER, ids=lambda f: f.__name__)
def test_a_stub_is_not_attempted_yet(checker, capsys):
    checker(unattempted)
    assert capsys.readouterr().out == "not attempted yet\n"


@pytest.mark.parametrize("checker", IN_ORDER, ids=lambda f: f.__name__)
def test_printing_instead_of_returning_is_explained(checker):
    with pytest.raises(check.WrongAnswer, match="did you print instead of return"):
        checker(printing)


def test_known_slips_are_named():
    with pytest.raises(check.WrongAnswer, match="divided by √D"):
        check.attend_last(unscaled)
    with pytest.raises(check.WrongAnswer, match="norm stands after the sum"):
        check.block_forward(post_norm)
    with pytest.raises(check.WrongAnswer, match="norm stands on the shortcut"):
        check.block_forward(shortcut_after_norm)
    with pytest.raises(check.WrongAnswer, match="metadata__ is in the header"):
        check.read_header(metadata_kept)
    with pytest.raises(check.WrongAnswer, match="not turned"):
        check.cut_qkv(cut_but_not_turned)
    with pytest.raises(check.WrongAnswer, match="reshaping is not turning"):
        check.cut_qkv(reshaped)
    with pytest.raises(check.WrongAnswer, match="the message ended before"):
        check.last_token_logits(at_the_last_position)
    with pytest.raises(check.WrongAnswer, match=r"these are \(recall, precision\)"):
        check.precision_recall(recall_precision)
    with pytest.raises(check.WrongAnswer, match="factor alpha / r"):
        check.lora_merge(merged_unscaled)
    with pytest.raises(check.WrongAnswer, match="words of the message are gone"):
        check.fool(fool_by_leaving_out)
    with pytest.raises(check.WrongAnswer, match="fields of info come first"):
        check.parse_record(only_the_tags)
    with pytest.raises(check.WrongAnswer, match="spaces around"):
        check.parse_record(without_stripping)
    with pytest.raises(check.WrongAnswer, match="second question is not"):
        check.mask_turns(first_turn_masked)
    with pytest.raises(check.WrongAnswer, match="begins where the one before ended"):
        check.follow(sums_alone)


@pytest.mark.parametrize(
    ("checker", "answer", "words"),
    [
        (check.interval, share_and_errors, "1.96 standard errors"),
        (check.interval, interval_of_one_error, "z is 1.96"),
        (check.interval, no_width_if_all_are_right, "without width"),
        (check.interval, high_and_low, r"these are \(high, low\)"),
        (check.interval, half_undivided, "both divided"),
        (check.interval, interval_as_texts, r"gave\n\['0.49"),
        (check.choose, best_of_sums, "sums prefer short endings"),
        (check.choose, best_by_words, "not of words"),
        (check.choose, best_by_bytes, "é is one character"),
        (check.choose, least_likely, "the least likely"),
        (check.choose, last_of_equals, "of equals, the first"),
        (check.choose, the_ending_itself, "its index was expected"),
        (check.choose, index_as_text, "gave\n'2'\nexpected\n2"),
        (check.choose, nats_overwritten, "the lists after choose"),
        (check.sliding, start_forgotten, "first id is never predicted"),
        (check.sliding, incomplete_window_dropped, "last window is missing"),
        (check.sliding, context_too_long, "one id too long for 4 inputs"),
        (check.sliding, last_target_as_input, "one more id fits"),
        (check.sliding, no_more_than_one_before, "room for more context"),
        (check.sliding, start_put_into_ids, "ids after sliding"),
        (check.mean_nats, too_good_to_be_true, "padding is"),
        (check.mean_nats, padding_counted, "padding is"),
        (check.mean_nats, every_batch_alike, "a small batch counts as much"),
        (check.mean_nats, every_text_alike, "a short text counts as much"),
        (check.mean_nats, never_divided, "that is the sum"),
        (check.mean_nats, padding_overwritten, "the batches after mean_nats"),
        (check.pass_at_k, drawn_with_replacement, "not drawn twice"),
        (check.pass_at_k, share_of_right, "the share of right answers"),
        (check.pass_at_k, none_is_right, "that none is right"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_slips_of_evaluation_are_named(checker, answer, words):
    with pytest.raises(check.WrongAnswer, match=words):
        checker(answer)


@pytest.mark.parametrize(
    ("checker", "answer", "words"),
    [
        (check.win_table, row_loses, "the row loses"),
        (check.win_table, gaps_of_rewards, "not yet probabilities"),
        (check.win_table, rewards_as_strengths, "is not a strength"),
        (check.best_policy, without_reference, "without the reference"),
        (check.best_policy, beta_upside_down, "β divides"),
        (check.best_policy, tilted_only, "the sum is not 1"),
        (check.best_policy, divided_by_infinity, "overflows"),
        (check.preference_loss, reference_forgotten, "reference is missing"),
        (check.preference_loss, columns_swapped, "first column is the chosen"),
        (check.preference_loss, beta_outside, "inside the logarithm"),
        (check.preference_loss, log_of_sigmoid, "F.logsigmoid"),
        (check.preference_loss, summed_over_pairs, "mean over the pairs"),
        (check.loss_of_votes, votes_of_all, "the votes of all"),
        (check.loss_of_votes, losers_win, "the loser won"),
        (check.loss_of_votes, first_always_wins, "votes are not looked at"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_slips_of_preferences_are_named(checker, answer, words):
    with pytest.raises(check.WrongAnswer, match=words):
        checker(answer)


def sums_over_counts(batches):
    total = sum(nats[is_text].sum() for nats, is_text in batches)
    return total / sum(is_text.sum() for _, is_text in batches)


def one_long_tensor(batches):
    return torch.cat([nats[is_text] for nats, is_text in batches]).mean()


def one_factor_at_a_time(n, right, k):
    """As Chen and others compute it."""
    return 1 - np.prod(1 - k / np.arange(n - right + 1, n + 1)) if right else 0


RIGHT = [
    (check.interval, right_interval),
    (check.interval, lambda *given: [*right_interval(*given)]),
    (check.interval, wilson),
    (check.interval, lambda *given: torch.tensor(right_interval(*given))),
    (check.interval, lambda *given: np.float32(right_interval(*given))),
    (check.interval, lambda *given: map(torch.tensor, right_interval(*given))),
    (check.choose, best_by(len)),
    (check.choose, lambda nats, endings: np.int64(best_by(len)(nats, endings))),
    (check.choose, lambda nats, endings: torch.tensor(best_by(len)(nats, endings))),
    (check.sliding, slide),
    (check.sliding, lambda *given: iter(slide(*given))),
    (check.sliding, lambda *given: [[*window] for window in slide(*given)]),
    (check.sliding, lambda *given: [(np.array(a), b) for a, b in slide(*given)]),
    (
        check.sliding,
        lambda *given: [tuple(map(torch.tensor, pair)) for pair in slide(*given)],
    ),
    (check.mean_nats, sums_over_counts),
    (check.mean_nats, one_long_tensor),
    (check.mean_nats, lambda batches: one_long_tensor(batches).item()),
    (check.mean_nats, lambda batches: one_long_tensor(batches).double()),
    (check.mean_nats, lambda batches: one_long_tensor(batches).numpy()),
    (check.pass_at_k, lambda *given: 1 - none_is_right(*given)),
    (check.pass_at_k, lambda *given: Fraction(1 - none_is_right(*given))),
    (check.pass_at_k, lambda *given: torch.tensor(1 - none_is_right(*given))),
    (check.pass_at_k, one_factor_at_a_time),
    (check.group_advantages, standardised),
    (check.group_advantages, lambda rewards: standardised(rewards).double()),
    (check.group_advantages, lambda rewards: standardised(rewards).tolist()),
    (check.clipped_loss, clipped_mean),
    (check.clipped_loss, lambda *given: clipped_mean(*given).item()),
    (check.bandit_step, uphill),
    (check.bandit_step, only_the_arm_pulled),
    (check.bandit_step, lambda *given: uphill(*given).numpy().astype("float64")),
    (check.strict_reward, chain_holds),
    (check.strict_reward, lambda *given: int(chain_holds(*given))),
]


@pytest.mark.parametrize(("checker", "answer"), RIGHT, ids=lambda f: f.__name__)
def test_a_right_answer_of_another_type_is_right(checker, answer, capsys):
    checker(answer)
    assert capsys.readouterr().out == "✓ right\n"


STRANGE = ["2", 7j, float("nan"), {}, {1}, [], [None, None], object(), torch.eye(2)]
STRANGE += [torch.zeros(0), [[torch.eye(2)], 3], b"2", [("a", 1), 5], int, math.inf]
OF_EVALUATION = [checker for checker in IN_ORDER if checker in dict(RIGHT)]


@pytest.mark.parametrize("checker", OF_EVALUATION, ids=lambda f: f.__name__)
def test_a_strange_answer_is_only_wrong(checker):
    for strange in STRANGE:
        with pytest.raises(check.WrongAnswer, match="gave|has shape"):
            checker(lambda *_, strange=strange: strange)


def test_a_right_answer_is_praised_and_nothing_else(capsys):
    check.softmax(lambda scores: F.softmax(scores, dim=-1))
    assert capsys.readouterr().out == "✓ right\n"


def test_other_errors_reach_the_learner():
    with pytest.raises(ZeroDivisionError):
        check.softmax(lambda scores: 1 / 0)


def test_a_wrong_type_is_explained():
    with pytest.raises(check.WrongAnswer, match="a tensor was expected"):
        check.softmax(lambda scores: scores.tolist())
    with pytest.raises(check.WrongAnswer, match="has shape"):
        check.softmax(lambda scores: scores[None])


@pytest.fixture
def shown(monkeypatch):
    """What a call displays, figures and rich objects alike."""
    displayed = []
    monkeypatch.setattr(plt, "show", lambda: displayed.append(plt.gcf()))
    monkeypatch.setattr(show, "display", displayed.append)
    yield displayed
    plt.close("all")


def test_source_shows_the_code_and_its_file(shown):
    show.source(math_free := show.pieces)
    assert shown[0].data.startswith("`gpt2lib/course/show.py`\n```python\ndef pieces(")
    assert math_free is show.pieces


def test_tokens_are_escaped_and_counted(shown, tokenizer):
    text = "<b>bold</b> é"
    show.tokens(text, {"ours": tokenizer})
    page = shown[0].data
    assert "<b>bold" not in page and "&lt;" in page
    assert f"<td>{len(tokenizer.encode(text))}</td>" in page


def test_parts_of_characters_are_shown_as_bytes(tokenizer):
    assert show.pieces("速", tokenizer) == ["e9", "80", "9f"]


def test_heatmap_draws_every_matrix(shown):
    patterns = torch.rand(3, 4, 5)
    show.heatmap(patterns, list("abcd"), ["x", "y", "z"], columns=list("12345"))
    images = [axis.images[0].get_array() for axis in shown[0].axes if axis.images]
    assert len(images) == 3
    assert all(torch.equal(torch.tensor(a.data), p) for a, p in zip(images, patterns))
    assert [axis.get_title() for axis in shown[0].axes[:3]] == ["x", "y", "z"]


def test_curves_draw_every_line(shown):
    show.curves({"a": [1, 2], "b": ([3, 4], [5, 6])}, x=[7, 8], log_y=True)
    lines = [line.get_xydata().tolist() for line in shown[0].axes[0].lines]
    assert lines == [[[7, 1], [8, 2]], [[3, 5], [4, 6]]]


def test_curves_have_a_tick_at_every_x_and_notes_beside_points(shown):
    show.curves({"a": [1, 2]}, x=[8, 512], log_x=True, notes=[(8, 1, "here")])
    axis = shown[0].axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["8", "512"]
    (note,) = axis.texts
    assert note.get_text() == "here" and note.xy == (8, 1)


def test_measurements_plot_themselves(shown, tmp_path):
    metrics = Metrics(tmp_path / "metrics.jsonl")
    for step in (1, 2):
        metrics.add(step=step, loss=5.0 - step)
    metrics.add(step=2, val_loss=4.5)
    show.training(metrics.path)
    lines = [line.get_xydata().tolist() for line in shown[0].axes[0].lines]
    assert lines == [[[1, 4.0], [2, 3.0]], [[2, 4.5]]]


def test_live_curves_take_the_place_of_the_last(shown, capsys):
    show.live({"loss": [2, 1]})
    assert shown[0].axes[0].lines[0].get_ydata().tolist() == [2, 1]


def test_a_grid_shows_every_text_on_its_share(shown):
    show.grid([["a b", "c"], ["d"]], [[0.0, 1.0], [0.5]], rows=["x", "y"])
    axis = shown[0].axes[0]
    assert [text.get_text() for text in axis.texts] == ["a·b", "c", "d"]
    assert axis.images[0].get_array().tolist() == [[0, 1], [0.5, 0]]


def test_bars_have_the_lengths_given(shown):
    show.bars({"a": [1, 2], "b": [3, 4]}, ["x", "y"])
    assert [bar.get_width() for bar in shown[0].axes[0].patches] == [1, 2, 3, 4]


def test_intervals_run_from_end_to_end(shown):
    show.intervals({"a": (0.5, 0.4, 0.7), "b": (0.9, 0.8, 1.0)})
    lines = shown[0].axes[0].lines[::2]
    assert [list(line.get_xdata()) for line in lines] == [[0.4, 0.7], [0.8, 1.0]]
    assert [text.get_text() for text in shown[0].axes[0].texts] == ["50.0%", "90.0%"]


def test_windows_show_inputs_and_the_last_target(shown):
    show.windows(list("abcde"), torch.tensor([[0, 1], [2, 3]]))
    assert [t.get_text() for t in shown[0].axes[0].texts] == list("abccde")


def test_architecture_names_the_sizes(shown):
    show.architecture(GPT2_124M)
    texts = " ".join(text.get_text() for text in shown[0].axes[0].texts)
    assert "12 × TransformerBlock" in texts and "50,257 × 768" in texts
    assert math.isfinite(shown[0].get_figwidth())


# --------------------------------------------------------------------------- speed


def test_programs_take_turns_and_the_first_does_not_count():
    called = []
    programs = {name: lambda name=name: called.append(name) for name in "ab"}
    seconds = take_turns(programs, turns=3)
    assert "".join(called) == "abababab"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}
    assert all(time >= 0 for times in seconds.values() for time in times)


def test_two_turns_are_no_comparison():
    with pytest.raises(ValueError, match="2 turns says nothing; take at least 3"):
        take_turns({"a": int}, turns=2)

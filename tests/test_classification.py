"""The verdict: independent of padding, equal to transformers, counted right."""

import dataclasses
import math

import pytest
import torch
from small import SMALL, lively, with_compatible_names
from transformers import GPT2Config, GPT2ForSequenceClassification

from gpt2lib import GPTModel, generate, load_model, load_tokenizer, save_model
from gpt2lib.data import IGNORED, pad
from gpt2lib.finetuning import (
    COURSE_LENGTH,
    LABELS,
    Message,
    NaiveBayes,
    SpamTask,
    best_naive_bayes,
    classify,
    confusion_matrix,
    replace_head,
    scores,
    train_only,
)
from gpt2lib.training import total_loss
from gpt2lib.weights import plan_loading

TEXTS = ["Call me.", "You won a phone, call now!", "", "Dinner at seven? Bring rice."]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


@pytest.fixture(scope="module")
def classifier(tokenizer):
    torch.manual_seed(0)
    cfg = dataclasses.replace(SMALL, vocab_size=tokenizer.n_vocab, context_length=128)
    model = lively(replace_head(GPTModel(cfg), 2)).eval()
    assert sum(p.numel() for p in model.parameters()) == model.cfg.n_params
    return model


def test_padding_does_not_change_the_answer(classifier, tokenizer):
    ids = tokenizer.encode(TEXTS[1])
    alone = classify(classifier, [TEXTS[1]], tokenizer)[0]
    for extra in (1, 2, 7, 20, 90):
        longer = tokenizer.encode("so " * extra + TEXTS[1])
        inputs, _ = pad([(ids, []), (longer, [])])
        assert inputs.shape[1] > len(ids)
        with torch.no_grad():
            padded = classifier(inputs)[0, len(ids) - 1].softmax(-1)
        torch.testing.assert_close(padded, alone, atol=1e-6, rtol=1e-5)


def test_a_batch_says_what_each_text_gets_alone(classifier, tokenizer):
    together = classify(classifier, TEXTS, tokenizer, batch_size=3)
    for text, row in zip(TEXTS, together):
        alone = classify(classifier, [text], tokenizer)[0]
        torch.testing.assert_close(row, alone, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(together.sum(1), torch.ones(len(TEXTS)))
    assert (together[0] - together[1]).abs().max() > 0.01


def test_outer_white_space_changes_no_answer(classifier, tokenizer):
    around = [f"\n {text} \r\n" for text in TEXTS]
    given = [classify(classifier, texts, tokenizer) for texts in (TEXTS, around)]
    assert given[0].equal(given[1])


@pytest.mark.parametrize("count", [0, 1])
def test_a_head_has_at_least_two_classes(count):
    with pytest.raises(ValueError, match=f"n_classes must be .* got {count}"):
        replace_head(GPTModel(SMALL), count)


def test_only_the_last_real_token_is_learned(classifier, tokenizer):
    task = SpamTask(tokenizer, 128)
    ids, targets = task.encode(Message(TEXTS[1], 1))
    assert targets == [IGNORED] * (len(ids) - 1) + [1]
    inputs, targets = pad([(ids, targets), task.encode(Message(TEXTS[3], 0))])
    with torch.no_grad():
        loss = total_loss(classifier(inputs), targets)
    likely = classify(classifier, [TEXTS[1], TEXTS[3]], tokenizer)
    torch.testing.assert_close(loss, -(likely[0, 1].log() + likely[1, 0].log()))


def test_a_long_message_is_cut_and_counted(classifier, tokenizer):
    task = SpamTask(tokenizer, 128)
    long = Message("so " * 500, 0)
    ids, _ = task.encode(long)
    assert ids == tokenizer.encode(long.text)[:128]
    short = [Message("oh", 0)]
    rows = {"training": [long, Message("so", 1)], "validation": short, "test": short}
    assert task.measure(classifier, rows)["cut"] == 1
    rows["validation"] = [long]
    assert task.measure(classifier, rows)["cut"] == 2


@pytest.mark.parametrize("fused_qkv", [True, False])
def test_transformers_opens_it_and_agrees(classifier, tokenizer, tmp_path, fused_qkv):
    save_model(classifier, tmp_path, tokenizer, {"id2label": {0: "ham", 1: "spam"}})
    theirs = GPT2ForSequenceClassification.from_pretrained(tmp_path).eval()
    assert theirs.config.id2label == {0: "ham", 1: "spam"}
    end = tokenizer.eot_token
    rows = [tokenizer.encode(text) or [end] for text in TEXTS]
    inputs, _ = pad([(ids, []) for ids in rows])
    for row, ids in enumerate(rows):
        inputs[row, len(ids) :] = end  # what theirs takes for padding
    with torch.no_grad():
        expected = theirs(inputs).logits.softmax(-1)
    ours = load_model(tmp_path, fused_qkv=fused_qkv)
    likely = classify(ours, TEXTS, tokenizer)
    keep = [0, 1, 3]  # theirs does not know what to read of an empty text
    torch.testing.assert_close(likely[keep], expected[keep], atol=1e-5, rtol=1e-4)
    assert ours.cfg.n_classes == 2 and not ours.cfg.tied_head


def test_the_seeds_classifier_opens_with_its_bias(classifier, tokenizer, tmp_path):
    """Saved as the seed does: fused matrix, a head with a bias, masks."""
    state = with_compatible_names(classifier)
    bias = torch.tensor([0.7, -1.3])
    state["out_head.bias"] = bias
    for i in range(classifier.cfg.n_layers):
        state[f"trf_blocks.{i}.attn.mask"] = torch.ones(1, 1, 128, 128)
    torch.save(state, tmp_path / "gpt2_spam_classif_weights.pth")
    heads = f'{{"n_head": {classifier.cfg.n_heads}}}'
    (tmp_path / "config.json").write_text(heads)
    path = tmp_path / "gpt2_spam_classif_weights.pth"
    opened, ids = load_model(path), torch.tensor([tokenizer.encode(TEXTS[1])])
    with torch.no_grad():
        torch.testing.assert_close(
            opened(ids), classifier(ids) + bias, atol=1e-5, rtol=1e-4
        )
    plan = str(plan_loading(path))
    assert "for 2 classes, its bias moved into final_norm.shift" in plan
    assert "out_head.bias" not in plan


def test_a_damaged_head_is_not_taken_for_one_of_classes(tmp_path):
    state = GPTModel(dataclasses.replace(SMALL, tied_head=False)).state_dict()
    state["out_head.weight"] = state["out_head.weight"][:-1].clone()
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"out_head.weight is \(96, 128\)"):
        load_model(tmp_path / "model.pth")


def test_the_seeds_way_reads_at_the_padded_end(classifier, tokenizer):
    ids = tokenizer.encode(TEXTS[1])
    end = [tokenizer.eot_token] * (COURSE_LENGTH - len(ids))
    with torch.no_grad():
        expected = classifier(torch.tensor([ids + end]))[0, -1].softmax(-1)
    said = classify(classifier, [TEXTS[1]], tokenizer, padded_to=COURSE_LENGTH)[0]
    torch.testing.assert_close(said, expected, atol=1e-6, rtol=1e-5)


def test_what_to_train_can_be_chosen(classifier):
    def names(part):
        model = train_only(replace_head(GPTModel(SMALL), 2), part)
        named = model.named_parameters()
        return {name.split(".")[0] for name, p in named if p.requires_grad}

    assert names("head") == {"out_head"}
    assert names("final-scale") == {"out_head", "final_norm"}
    assert names("last-block") == {"out_head", "final_norm", "trf_blocks"}
    assert names("all") == {name.split(".")[0] for name in classifier.state_dict()}
    blocks = train_only(GPTModel(SMALL), "last-block").trf_blocks
    frozen = [not any(p.requires_grad for p in b.parameters()) for b in blocks]
    assert frozen == [True] * (len(blocks) - 1) + [False]
    with pytest.raises(ValueError, match="'some'"):
        train_only(GPTModel(SMALL), "some")


def test_a_head_that_is_the_embedding_is_not_trained_alone():
    with pytest.raises(ValueError, match="its token embedding.*use final-scale"):
        train_only(GPTModel(SMALL), "head")
    assert not train_only(GPTModel(SMALL), "last-block").tok_emb.weight.requires_grad
    own = GPTModel(dataclasses.replace(SMALL, tied_head=False))
    assert train_only(own, "head").out_head.weight.requires_grad


@pytest.mark.parametrize("tied", [True, False])
def test_the_final_scale_alone_leaves_the_head_that_predicts_tokens(tied):
    model = GPTModel(dataclasses.replace(SMALL, tied_head=tied))
    named = train_only(model, "final-scale").named_parameters()
    learning = [name for name, parameter in named if parameter.requires_grad]
    assert learning == ["final_norm.scale"]


@pytest.mark.parametrize("label", [0, 1])
def test_messages_of_one_kind_are_refused(tokenizer, label):
    task, both = SpamTask(tokenizer, 24), [Message("a", 0), Message("b", 1)]
    task.check({"training": both, "validation": both, "test": both})
    with pytest.raises(
        ValueError, match=f"1 messages of the test split are {LABELS[label]}"
    ):
        task.check({"training": both, "test": [Message("a", label)]})


def test_a_language_model_does_not_classify_nor_a_classifier_write(
    classifier, tokenizer
):
    with pytest.raises(ValueError, match="no classification head"):
        classify(GPTModel(SMALL), ["hi"], tokenizer)
    with pytest.raises(ValueError, match="classification head for 2 classes"):
        generate(classifier, torch.tensor([[1]]), 1)


@pytest.mark.parametrize("name", ["batch_size", "padded_to"])
@pytest.mark.parametrize("size", [0, -1, 1.5])
def test_a_size_below_one_is_refused(classifier, tokenizer, name, size):
    with pytest.raises(ValueError, match=f"{name} must be a whole number >= 1"):
        classify(classifier, ["hi", "win now"], tokenizer, **{name: size})


@pytest.mark.parametrize(
    ("n_classes", "problem_type"),
    [
        (1, None),
        (2, "regression"),
        (3, "multi_label_classification"),
    ],
)
def test_heads_that_do_not_choose_a_class_are_refused(
    tmp_path, n_classes, problem_type
):
    size = {"vocab_size": 300, "n_positions": 24, "n_embd": 32, "n_head": 2}
    head = {"num_labels": n_classes, "problem_type": problem_type}
    theirs = GPT2ForSequenceClassification(GPT2Config(n_layer=1, **size, **head))
    theirs.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is for '.*choose one of several classes"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("confusion", "expected"),
    [
        ([[8, 2], [1, 9]], (0.85, 9 / 11, 0.9, 18 / 21)),
        ([[10, 0], [5, 0]], (2 / 3, 0.0, 0.0, 0.0)),
        ([[0, 0], [0, 5]], (1.0, 1.0, 1.0, 1.0)),
        ([[3, 0], [0, 0]], (1.0, 0.0, 0.0, 0.0)),
    ],
)
def test_the_scores_are_those_of_their_definitions(confusion, expected):
    assert tuple(scores(confusion).values()) == pytest.approx(expected)


def test_rows_are_true_labels_and_columns_predicted_ones():
    assert confusion_matrix([0, 0, 0, 1], [1, 1, 0, 0]) == [[1, 2], [1, 0]]


def test_naive_bayes_is_that_of_the_formula():
    training = [Message("a a b", 0), Message("b c", 1), Message("c", 1)]
    bayes = NaiveBayes(training)
    # P(ham) P(a|ham) = 1/3 * 3/6 beats P(spam) P(a|spam) = 2/3 * 1/6
    assert bayes.predict("a") == 0
    # 1/3 * (1+1)/6 loses to 2/3 * (1+1)/6
    assert bayes.predict("B") == 1
    assert bayes.predict("new words") == 1


def test_naive_bayes_on_pairs_hears_the_order():
    training = [Message("now pay", 0), Message("pay now", 1)]
    words, pairs = NaiveBayes(training), NaiveBayes(training, n=2)
    assert words.predict("now pay") == words.predict("pay now")
    assert (pairs.predict("now pay"), pairs.predict("pay now")) == (0, 1)
    # Two words and a pair of each label: P(a|label) is (1+1)/(3+4) or (0+1)/(3+4).
    odds = [pairs._log_probability("pay now", label) for label in (0, 1)]
    assert odds[1] - odds[0] == pytest.approx(math.log(2))


def test_the_naive_bayes_that_stands_beside_is_chosen_on_the_validation_split():
    training = [Message("now pay", 0), Message("pay now", 1)]
    assert best_naive_bayes(training, training)[0] == "pairs"
    name, bayes = best_naive_bayes(training, [Message("now pay", 0)])
    assert (name, bayes.n) == ("words", 1)  # of equals the simplest


def test_a_config_with_classes_is_checked():
    with pytest.raises(ValueError, match="set tied_head=False"):
        dataclasses.replace(SMALL, n_classes=2)
    with pytest.raises(ValueError, match="n_classes"):
        dataclasses.replace(SMALL, n_classes=-1, tied_head=False)

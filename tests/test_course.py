"""Figures draw what they are given."""

import math
import re

import matplotlib
import pytest
import torch
from matplotlib import pyplot as plt

from gpt2lib import GPT2_124M, generate, load_model, load_tokenizer
from gpt2lib.course import explore, show
from gpt2lib.course.show.style import visible
from gpt2lib.course.speed import take_turns
from gpt2lib.finetuning import alpaca_prompt, reasoning_prompt
from gpt2lib.training import Metrics

matplotlib.use("Agg")


@pytest.fixture
def shown(monkeypatch):
    """What a call displays, figures and rich objects alike."""
    displayed = []
    monkeypatch.setattr(plt, "show", lambda: displayed.append(plt.gcf()))
    monkeypatch.setattr(show.texts, "display", displayed.append)
    yield displayed
    plt.close("all")


def test_source_shows_the_code_and_its_file(shown):
    show.source(math_free := show.pieces)
    assert shown[0].data.startswith(
        "`gpt2lib/course/show/texts.py`\n```python\ndef pieces("
    )
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


def test_measured_lines_have_intervals_and_a_band(shown):
    lines = {"a": [(5, 4, 7), (6, 5, 8)], "b": [1, 2]}
    show.measured(lines, [1, 2], band=(0.5, 1.5, "here"))
    axis = shown[0].axes[0]
    (bars,) = axis.collections
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [[4, 7], [5, 8]]
    names = {text.get_text() for text in axis.get_legend().get_texts()}
    assert names == {"a", "b", "here"}


def test_kinds_have_a_name_for_each_colour(shown):
    show.kinds([[0, 1], [2, 1]], ["none", "some", "all"], columns=list("ab"))
    axis = shown[0].axes[0]
    assert axis.images[0].get_array().tolist() == [[0, 1], [2, 1]]
    assert len(axis.get_legend().get_texts()) == 3


def test_a_cache_is_filled_one_position_a_pass(shown):
    show.cache_filling(list("abcde"), given=2, passes=2)
    without, cached = (axis.images[0].get_array() for axis in shown[0].axes)
    assert without.tolist() == [[2, 2, 0, 0, 0], [2, 2, 2, 0, 0], [0] * 5]
    assert cached.tolist() == [[2, 2, 0, 0, 0], [1, 1, 2, 0, 0], [0] * 5]


def test_levels_round_to_the_nearest(shown):
    show.levels([0.1, 0.8], [0.0, 1.0])
    lines = [line.get_xydata().tolist() for line in shown[0].axes[0].lines]
    joined = [[x for x, _ in line] for line in lines if [y for _, y in line] == [1, 0]]
    assert joined == [[pytest.approx(0.1), 0.0], [pytest.approx(0.8), 1.0]]


def test_the_steps_of_an_answer_are_those_of_generate(shown):
    pocket, tokenizer = load_model(), load_tokenizer()
    prompt = "Once upon a time"
    steps = show.steps_of(pocket, prompt, tokenizer, length=12, others=2)
    said = "".join(step[0][0] for step in steps)
    ids = torch.tensor([tokenizer.encode(prompt)])
    new = generate(pocket, ids, len(steps), eos_id=tokenizer.eot_token)
    assert tokenizer.decode(new[0, ids.shape[1] :].tolist()) == said
    assert all(len(step) == 3 and step[0][1] >= step[1][1] for step in steps)
    show.answer(steps, count=5, width=3)
    texts = [text.get_text() for text in shown[0].axes[0].texts]
    assert texts[0].startswith(steps[0][0][0].replace(" ", "·"))
    assert len(list(filter(None, texts))) == 15


def test_views_put_controls_around_what_is_drawn(shown, monkeypatch):
    model, tokenizer, views = load_model("thinker"), load_tokenizer(), []
    monkeypatch.setattr(
        explore, "interact", lambda draw, **of: views.append((draw, of))
    )
    monkeypatch.setattr(explore, "display", views.append)
    explore.live_cache(list("abcde"), given=2)
    explore.live_answer({"it": model}, alpaca_prompt, tokenizer, "Add 3 to 4.")
    explore.live_thought(model, reasoning_prompt, tokenizer, "2 + 2?", length=4)
    for draw, controls in (view for view in views if isinstance(view, tuple)):
        draw(**{name: control.value for name, control in controls.items()})
    assert len(shown) == 3


def test_leanings_colour_every_word_by_its_sign(shown):
    show.leanings(["pay", "now", "please"], [2.0, -1.0, 0.5], width=2, label="odds")
    axis = shown[0].axes[0]
    assert [text.get_text() for text in axis.texts] == ["pay", "now", "please"]
    image = axis.images[0]
    assert image.get_array().compressed().tolist() == [2, -1, 0.5]
    assert image.get_clim() == (-2, 2)


def test_surprise_breaks_lines_and_colours_tokens(shown):
    show.surprise(["Once", " upon", " a"], [None, 0.0, 9.0], width=10)
    axis = shown[0].axes[0]
    assert [text.get_text() for text in axis.texts] == ["Once", "·upon", "·a"]
    assert len({text.get_position()[1] for text in axis.texts}) == 2
    first, light, dark = (sum(patch.get_facecolor()[:3]) for patch in axis.patches)
    assert first >= light > dark


def test_sampling_shows_what_may_be_drawn(shown):
    logits = torch.arange(20.0)
    show.sampling(logits, str, temperature=2.0, top_k=3)
    axis = shown[0].axes[0]
    assert axis.get_title() == "3 of 20 tokens may be drawn"
    widths = [bar.get_width() for bar in axis.patches]
    assert math.isclose(sum(widths[12:]), 1, rel_tol=1e-6)
    assert [width > 0 for width in widths[12:]] == [True] * 3 + [False] * 9


def test_a_strip_is_to_scale(shown):
    show.strip([("a", 1), ("b", 3), ("a", 2)])
    axis = shown[0].axes[0]
    assert [bar.get_width() for bar in axis.patches] == [1, 3, 2]
    assert [bar.get_x() for bar in axis.patches] == [0, 1, 4]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["a", "b"]


def test_windows_show_inputs_and_the_last_target(shown):
    show.windows(list("abcde"), torch.tensor([[0, 1], [2, 3]]))
    assert [t.get_text() for t in shown[0].axes[0].texts] == list("abccde")


def test_architecture_names_the_sizes(shown):
    show.architecture(GPT2_124M)
    texts = " ".join(text.get_text() for text in shown[0].axes[0].texts)
    assert "12 × TransformerBlock" in texts and "50,257 × 768" in texts
    assert math.isfinite(shown[0].get_figwidth())


def test_a_merge_tree_has_the_tokens_of_the_library(shown, tokenizer):
    show.merge_tree("the other", tokenizer.merges)
    axis = shown[0].axes[0]
    tokens = [text.get_text() for text in axis.texts]
    assert tokens[:9] == list("the·other")
    ranks = [label.get_text() for label in axis.get_yticklabels()][1:]
    assert [tokens[9 + i] for i in range(len(ranks))] == [
        visible(b"".join(tokenizer.merges[int(rank[6:])]).decode()) for rank in ranks
    ]


def test_the_last_token_of_a_merge_tree_is_the_words(shown):
    show.merge_tree("aab", [(b"a", b"b"), (b"a", b"ab")])
    axis = shown[0].axes[0]
    assert [text.get_text() for text in axis.texts] == ["a", "a", "b", "ab", "aab"]
    assert axis.get_title() == "1 token: 'aab'"


def test_places_are_labelled_where_they_lie(shown):
    show.places({"a": {"x": (1, 2)}, "b": {"y": (3, 4), "z": (5, 6)}})
    axis = shown[0].axes[0]
    assert [(text.get_text(), text.xy) for text in axis.texts] == [
        ("x", (1, 2)),
        ("y", (3, 4)),
        ("z", (5, 6)),
    ]
    assert [text.get_text() for text in axis.get_legend().texts] == ["a", "b"]


def test_arrows_point_to_their_vectors(shown):
    panels = {"one": {"q": (1, 2), "k": (3, 0)}, "two": {"v": (0, 1)}}
    show.arrows(panels, thick=["q"])
    first, second = shown[0].axes
    assert [text.xy for text in first.texts if text.get_text()] == [(1, 2), (3, 0)]
    assert (first.get_title(), second.get_title()) == ("one", "two")
    colours = [text.get_color() for text in first.texts if text.get_text()]
    assert colours == [show.RED, show.BLUE]


def test_low_rank_is_drawn_to_scale(shown):
    show.low_rank(30, 10, rank=2)
    axis = shown[0].axes[0]
    sizes = [(box.get_height(), box.get_width()) for box in axis.patches]
    assert sizes == [(30, 2), (2, 10), (30, 10), (30, 10)]
    assert axis.get_aspect() == 1
    labels = [text.get_text() for text in axis.texts if "\n" in text.get_text()]
    assert labels[:2] == ["B\n30 × 2", "A\n2 × 10"]


def test_clouds_keep_their_groups_apart(shown):
    groups = {"ham": torch.zeros(3, 2), "spam": torch.ones(2, 2)}
    show.clouds({"before": groups, "after": groups})
    first, second = shown[0].axes
    assert [len(dots.get_offsets()) for dots in first.collections] == [3, 2]
    assert [text.get_text() for text in second.get_legend().texts] == ["ham", "spam"]


def test_most_read_names_the_token_with_the_largest_weight(shown):
    patterns = torch.zeros(2, 3, 4, 4)
    patterns[..., 0] = 0.1
    patterns[1, 2, 3, 2] = 0.9
    show.most_read([" a", " b", " c", " d"], patterns, 3)
    axis = shown[0].axes[0]
    assert [text.get_text() for text in axis.texts] == ["0:·a"] * 5 + ["2:·c"]
    assert axis.images[0].get_array()[1, 2] == pytest.approx(0.9)


def test_under_each_token_stands_what_every_head_reads_from_it(monkeypatch):
    views = []
    monkeypatch.setattr(explore, "display", views.append)
    patterns = torch.eye(3).repeat(2, 2, 1, 1)
    patterns[1, 0, 2] = torch.tensor([0.75, 0.25, 0])
    explore.live_heads([" a", "<b", " c"], patterns)
    page = views[0].value.replace("<", "\n<")
    found = re.findall(r"background:rgba\(0,114,178,(.*)\)\">(.*)", page)
    own = [("0.80", "0:·a")] * 4 + [("0.80", "1:&lt;b")] * 4
    assert found == own + [("0.80", "2:·c")] * 2 + [("0.60", "0:·a"), ("0.80", "2:·c")]
    assert re.findall(r'tabindex="0">(.*)', page) == [" a", "&lt;b", " c"]
    for wrong in (patterns[..., :2], patterns[0]):
        with pytest.raises(ValueError, match=r"3 words need .* got \(2, "):
            explore.live_heads([" a", "<b", " c"], wrong)


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

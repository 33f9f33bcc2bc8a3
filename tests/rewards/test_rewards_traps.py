"""What goes wrong with rewards, trap by trap: where each is tested, and the tests of the rest."""

from __future__ import annotations

import logging
import re

import pytest
import torch
from aps_rewards import RewardError, load_reward
from aps_rewards.sequence_classifier import SequenceClassifier
from paths import ROOT
from test_bridge import CORPUS, byte_bpe
from test_bridge_run import canvas_of, relaxed_of
from test_bridge_run import operator as behind
from test_reward_operator import TinyReward
from test_rewards_loading import install
from test_rewards_sequence_classifier import CHATML, build
from test_steering import QUESTIONS, SMALL
from tiny import tiny_text_model
from tokenizers import AddedToken

from aps_text import APSPipeline
from aps_text.text.reward_operator.bridge import VocabularyBridge, bridge_between

TESTED = """
TRL's contract
    sync, async               test_rewards_calling::test_coroutines_are_awaited_also_inside_a_running_loop
    strings and messages      test_rewards_calling::test_messages_arrive_as_messages
    None: not applicable      test_rewards_calling::test_none_is_not_applicable_and_contributes_nothing
    weights                   test_pipeline::test_weights_sum_and_weight_zero_only_reports
    a model by its name       test_rewards_sequence_classifier::test_a_folder_or_an_id_is_a_reward
    trl's own, unchanged      test_rewards_trl::test_they_steer_and_are_measured
Finding
    the order                 test_rewards_traps::test_the_order_in_which_a_reward_is_found
    the error lists it        test_rewards_loading::test_unknown_names_say_what_was_tried
    unknown keyword           test_rewards_loading::test_unknown_options_are_named
    an exception is raised    test_rewards_calling::test_an_exception_names_the_row_at_fault_and_is_chained
Embeddings
    position -1 is padding    test_rewards_sequence_classifier::test_the_stock_forward_reads_padding_when_given_embeddings
    holes move positions      test_rewards_traps::test_dead_tokens_before_a_suffix_move_the_stock_score_and_not_ours
    in-place writes           test_rewards_traps::test_writing_into_a_buffer_under_no_grad_is_found_out
    two BOS, system prompts   test_rewards_sequence_classifier::test_chat_frames_hold_one_bos_and_no_system_prompt
    not the text's own cut    test_rewards_traps::test_a_soft_score_of_another_cut_is_reported_beside_the_texts
    scales                    test_rewards_traps::test_beta_is_in_the_rewards_own_unit
    scales, one for all       test_steering::test_calibration_makes_beta_mean_the_same
Two tokenizers
    policies                  test_bridge::test_policies_in_the_codebook
    refusals                  test_bridge::test_the_error_policy_and_other_refusals
    no bridge                 test_reward_operator::test_a_black_box_and_the_rloo_policy_have_no_gradient
    chosen and logged         test_rewards_traps::test_the_policy_is_logged_with_what_matched
    mass, not count           test_reward_operator::test_matched_mass_is_shared_and_leaves_the_stop_token_out
    one family, verified      test_rewards_traps::test_a_shared_family_is_verified_piece_by_piece
Guide, select, report
    three settings            test_steering::test_guide_select_and_report_are_told_apart
    zero                      test_steering::test_zero_is_the_base_sampler_token_for_token
    shuffled                  test_steering::test_shuffled_reads_every_token_as_another
    flipped                   test_steering::test_flipped_lowers_what_steering_raises
    costs are a vector        test_cost::test_the_meters_count_gradients_that_arrive
    seconds, memory           test_cost::test_time_and_memory_are_measured
    length, repetition        test_steering::test_length_and_repetition_are_named_where_they_did_the_work
"""  # noqa: E501


def test_every_trap_names_a_test_that_exists():
    named = re.findall(r"(test_\w+)::(test_\w+)", TESTED)
    assert len(named) == len(re.findall(r"^    \S", TESTED, re.M))
    for file, name in named:
        text = next((ROOT / "tests").rglob(f"{file}.py")).read_text(encoding="utf-8")
        assert f"def {name}(" in text, (file, name)


def test_the_order_in_which_a_reward_is_found(tmp_path, monkeypatch):
    """One name, everywhere: the instance, then what is installed, then import, file, folder."""
    (tmp_path / "both.py").write_text(
        "def installed(completions, **kw): return [1.0] * len(completions)\n"
        "def imported(completions, **kw): return [2.0] * len(completions)\n"
    )
    install(tmp_path, monkeypatch, "a/judge = both:installed\nboth:imported = both:installed")
    judge = build("bert")
    for folder in ("a/judge", "b/judge"):
        judge.model.save_pretrained(tmp_path / folder)
        judge.tokenizer.save_pretrained(tmp_path / folder)
    monkeypatch.chdir(tmp_path)

    def own(completions, **columns):
        return [0.0]

    own.__name__ = "a/judge"
    assert load_reward(own) is own
    assert load_reward("a/judge")(completions=["x"]) == [1.0]  # not the folder of that name
    assert load_reward("both:imported")(completions=["x"]) == [1.0]  # not the attribute
    assert load_reward("both.py:imported")(completions=["x"]) == [2.0]
    assert isinstance(load_reward("b/judge"), SequenceClassifier)
    (tmp_path / "both.py:imported").mkdir()
    assert load_reward("both.py:imported")(completions=["x"]) == [2.0]


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama"])
def test_dead_tokens_before_a_suffix_move_the_stock_score_and_not_ours(kind):
    """An answer that stopped early, then the template's end: `position_ids = cumsum(mask) - 1`."""
    reward = build(kind)
    before, after = reward.frame("Is it?")
    middle = reward.template.answer("A cat sings")
    dead = [7] * 9
    ids = torch.tensor([[*before, *middle, *dead, *after]])
    mask = torch.tensor([[1] * (len(before) + len(middle)) + [0] * 9 + [1] * len(after)])
    embeds, positions = reward.embedding_table()[ids], mask.cumsum(-1) - 1
    expected = reward(["Is it?"], ["A cat sings"])[0]
    with torch.no_grad():
        stock = reward.model(inputs_embeds=embeds, attention_mask=mask).logits[0, 0]
        mended = reward.model(
            inputs_embeds=embeds, attention_mask=mask, position_ids=positions
        ).logits[0, 0]
    assert abs(float(stock) - expected) > 1e-2
    assert float(mended) == pytest.approx(expected, abs=1e-4)
    found = reward.score_embeds(embeds, mask, positions, prompts=["Is it?"])
    assert float(found) == pytest.approx(expected, abs=1e-4)


def test_writing_into_a_buffer_under_no_grad_is_found_out():
    class InPlace(TinyReward):
        def score_embeds(self, embeds, attention_mask, position_ids, *, prompts, **columns):
            buffer = torch.zeros_like(embeds)
            with torch.no_grad():
                buffer[:] = embeds
            return super().score_embeds(buffer, attention_mask, position_ids, prompts=prompts)

    class OutOfPlace(TinyReward):
        def score_embeds(self, embeds, attention_mask, position_ids, *, prompts, **columns):
            live = attention_mask[..., None] == 1
            kept = torch.where(live, embeds, torch.zeros_like(embeds))
            return super().score_embeds(kept, attention_mask, position_ids, prompts=prompts)

    pipe = APSPipeline(tiny_text_model(dtype=torch.float64))
    with pytest.raises(RewardError, match=r"'tiny' .* without a gradient .*out of place"):
        pipe(QUESTIONS, InPlace(), **SMALL)
    assert pipe(QUESTIONS, OutOfPlace(), **SMALL).cost.reward_backwards > 0


def test_a_soft_score_of_another_cut_is_reported_beside_the_texts():
    """Equal vocabularies; the ids spell a word by letters, its text is cut into fewer pieces."""
    generator, tokenizer = byte_bpe(420), byte_bpe(420)
    tokenizer.chat_template = CHATML.replace("<|start|>", "")
    built = build("qwen2")
    reward = SequenceClassifier(built.model, tokenizer)
    op = behind(generator, reward, prompts=["Is it so?"], policy="error")
    ids, masked = canvas_of(generator, "the cat", width=8)
    letters = generator.convert_tokens_to_ids([*"the", "Ġ", *"cat"])
    spelled = torch.tensor([[*letters, generator.eos_token_id]])
    assert op.texts(spelled) == op.texts(ids) == ["the cat"]
    scores = {}
    for name, canvas in (("own", ids), ("spelled", spelled)):
        hard = torch.nn.functional.one_hot(canvas[masked], len(generator)).float()
        scores[name] = float(op.log_prob(relaxed_of(generator, canvas, masked, hard)).total)
    text = float(op.log_prob_ids(spelled).total)
    assert op.stats.retokenised == 1.0
    assert text == pytest.approx(scores["own"], abs=1e-4)
    assert abs(text - scores["spelled"]) > 1e-2


def test_beta_is_in_the_rewards_own_unit():
    """A reward a hundred times as large wants a beta a hundred times as large, and says which."""

    class Hundredfold(TinyReward):
        def score_embeds(self, *args, **columns):
            return 100 * super().score_embeds(*args, **columns)

    pipe = APSPipeline(tiny_text_model(dtype=torch.float64))
    options = {"prior": "kl", "inner_steps": 2, "num_return_sequences": 4, **SMALL}
    one = pipe(QUESTIONS, TinyReward(), beta=0.05, **options)
    same = pipe(QUESTIONS, Hundredfold(), beta=5.0, **options)
    other = pipe(QUESTIONS, TinyReward(), beta=5.0, **options)
    assert same.token_ids == one.token_ids != other.token_ids
    assert (one.config.beta, same.config.beta) == (0.05, 5.0)
    assert same.rewards["tiny"] == pytest.approx([100 * v for v in one.rewards["tiny"]])


def test_the_policy_is_logged_with_what_matched(caplog):
    with caplog.at_level(logging.INFO, logger="aps_text"):
        bridge = bridge_between(byte_bpe(420), byte_bpe(330), vocab_size=420, policy="zero")
    share = f"{100 * bridge.matched_share:.1f}%"
    assert 0 < bridge.matched_share < 1
    assert caplog.messages == [
        f"vocabulary bridge: {share} of the generator's text tokens matched, policy zero"
    ]


def test_a_shared_family_is_verified_piece_by_piece():
    """A generator with a mask of its own and its judge: the same pieces, other specials."""
    generator, judge = byte_bpe(420, mask=True), byte_bpe(420, mask=False)
    judge.add_special_tokens({"additional_special_tokens": [AddedToken("<|think|>", special=True)]})
    found = VocabularyBridge(generator, judge, vocab_size=len(generator), policy="error")
    assert found.matched_share == 1
    pieces = [
        generator.convert_ids_to_tokens(k) for k in found.matched.nonzero().flatten().tolist()
    ]
    assert pieces == judge.convert_ids_to_tokens(found.map[found.matched].tolist())
    # As many tokens, and not the same ones: nothing is taken on trust.
    own = byte_bpe(340)
    other = own.train_new_from_iterator([text[::-1] for text in CORPUS], vocab_size=len(own))
    assert len(other) == len(own)
    with pytest.raises(ValueError, match=r"generator tokens have no counterpart .*choose 'rest"):
        VocabularyBridge(own, other, vocab_size=len(own), policy="error")

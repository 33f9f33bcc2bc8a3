"""The operator around a reward: gradients, frames, padding, stops, and the text it scores."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from aps_rewards import RewardError
from aps_rewards.relevance import Relevance
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from aps_text.core.codebook import Relaxed
from aps_text.core.operator import Operator, OperatorSum
from aps_text.text.decoding import answer_ids, decode_canvas
from aps_text.text.reward_operator.bridge_stats import BridgeStats
from aps_text.text.reward_operator.operator import RewardOperator
from aps_text.text.vocabulary import Vocabulary

WORDS = ["a", "violin", "is", "lion", "the", "cat", "sings", "large"]


def wordpiece(vocab: list[str]) -> PreTrainedTokenizerFast:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = {v: i for i, v in enumerate([*names, *vocab])}
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = dict(zip(["pad", "unk", "cls", "sep", "mask"], names, strict=True))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{f"{k}_token": v for k, v in special.items()}
    )


class TinyReward:
    """A random float64 BERT that reads `[CLS] prompt [SEP] answer [SEP]` and sums its first state
    into a number: position, padding and frame all matter to it."""

    name = "tiny"
    measures = "nothing"
    range = (-float("inf"), float("inf"))
    differentiable = True

    def __init__(self, width: int = 8) -> None:
        self.tokenizer = wordpiece([*WORDS, "q", "why"])
        with torch.random.fork_rng():
            torch.manual_seed(0)
            config = BertConfig(
                vocab_size=len(self.tokenizer),
                hidden_size=width,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=16,
                max_position_embeddings=40,
                initializer_range=0.5,
            )
            self.model = BertModel(config, add_pooling_layer=False).double().eval()
            self.head = torch.randn(width, dtype=torch.float64)
        self.model.requires_grad_(False)

    def embedding_table(self):
        return self.model.get_input_embeddings().weight.detach()

    def frame(self, prompt):
        ids = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return [self.tokenizer.cls_token_id, *ids, self.tokenizer.sep_token_id], [
            self.tokenizer.sep_token_id
        ]

    def score_embeds(self, embeds, attention_mask, position_ids, *, prompts, scale=None, **columns):
        states = self.model(
            inputs_embeds=embeds, attention_mask=attention_mask, position_ids=position_ids
        ).last_hidden_state
        first = attention_mask.argmax(1)  # [CLS], wherever the padding put it
        scores = states[torch.arange(len(states)), first] @ self.head
        return scores if scale is None else scores * torch.tensor(scale, dtype=scores.dtype)

    def __call__(self, prompts, completions, completion_ids=None, **columns):
        scores = []
        for i, (prompt, text) in enumerate(zip(prompts, completions, strict=True)):
            before, after = self.frame(prompt)
            middle = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            ids = torch.tensor([[*before, *middle, *after]])
            mask = torch.ones_like(ids)
            row = {k: [v[i]] for k, v in columns.items()}
            embeds = self.embedding_table()[ids]
            score = self.score_embeds(embeds, mask, mask.cumsum(1) - 1, prompts=[prompt], **row)
            scores.append(float(score))
        return scores


# The generator: the same words in another order, one the reward lacks, and its own specials.
GENERATOR = wordpiece(["unheard", *reversed(WORDS)])
K = len(GENERATOR)
STOP, FILL, MASK = GENERATOR.sep_token_id, GENERATOR.pad_token_id, GENERATOR.mask_token_id
PROMPTS = ["q", "why is the lion large", "why q"]


VOCABULARY = Vocabulary(GENERATOR, K, MASK, FILL, FILL, (STOP,))


def operator(reward=None, prompts=PROMPTS, finish=str, **options) -> RewardOperator:
    return RewardOperator(
        reward if reward is not None else TinyReward(),
        "tiny",
        prompts,
        replace(VOCABULARY, finish=finish),
        **options,
    )


def ids_of(*texts: str, length: int = 6) -> torch.Tensor:
    rows = [GENERATOR(t, add_special_tokens=False)["input_ids"] for t in texts]
    rows = [[*r, STOP] if len(r) < length else r for r in rows]
    return torch.tensor([r + [FILL] * (length - len(r)) for r in rows])


def relaxed_of(ids: torch.Tensor, masked: torch.Tensor, probs: torch.Tensor, **options) -> Relaxed:
    rows, cols = masked.nonzero(as_tuple=True)
    alive = (ids == STOP).cumsum(-1) == 0
    return Relaxed(ids=ids, rows=rows, cols=cols, probs=probs, alive=alive, **options)


def mixture(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, K, generator=generator, dtype=torch.float64).softmax(-1)


IDS = ids_of("a violin is large", "the lion", "the cat sings the large violin")
MASKED = torch.tensor([[0, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 1]]).bool()


def test_it_is_an_operator():
    assert isinstance(operator(), Operator)
    assert isinstance(OperatorSum([(1.0, operator())]), Operator)


@pytest.mark.parametrize("policy", ["restrict", "zero", "unk"])
def test_gradient_against_finite_differences(policy):
    op = operator(policy=policy)
    probs = mixture(int(MASKED.sum())).requires_grad_(True)

    def score(p):
        return op.log_prob(relaxed_of(IDS, MASKED, p, relaxation="expectation")).total

    assert torch.autograd.gradcheck(score, probs)
    (gradient,) = torch.autograd.grad(score(probs).sum(), probs)
    assert (gradient.abs().sum(-1) > 1e-8).all()  # every masked position is reached


def test_straight_through_takes_the_gradient_at_the_quantised_point():
    op = operator()
    probs = mixture(int(MASKED.sum())).requires_grad_(True)
    total = op.log_prob(relaxed_of(IDS, MASKED, probs)).total
    (gradient,) = torch.autograd.grad(total.sum(), probs)
    offset = (op.codebook.embed(op.codebook.nearest(op.codebook.expect(probs.detach())))) - (
        op.codebook.expect(probs.detach())
    )

    class Shifted:
        embed = op.codebook.embed

        def expect(self, p):
            return op.codebook.expect(p) + offset

    shifted = operator()
    shifted.codebook = Shifted()

    def score(p):
        return shifted.log_prob(relaxed_of(IDS, MASKED, p, relaxation="expectation")).total.sum()

    (expected,) = torch.autograd.grad(score(probs), probs)
    torch.testing.assert_close(gradient, expected)
    assert torch.autograd.gradcheck(score, probs)


def test_rows_do_not_depend_on_their_neighbours():
    """Prompts of 1 to 5 words and answers of 2 to 6 tokens: padding on every side."""
    op, probs = operator(), mixture(int(MASKED.sum()))
    together = op.log_prob(relaxed_of(IDS, MASKED, probs)).total
    owner = MASKED.nonzero()[:, 0]
    for b in range(3):
        row = torch.tensor([b])
        alone = operator(prompts=PROMPTS[b : b + 1])
        for one in (alone, op.take(row)):
            relaxed = relaxed_of(IDS[row], MASKED[row], probs[owner == b])
            torch.testing.assert_close(one.log_prob(relaxed).total, together[row])


def test_what_stands_after_the_stop_is_not_read():
    op, probs = operator(prompts=["q"]), mixture(2)
    masked = torch.zeros(1, 6, dtype=torch.bool)
    masked[0, 0] = masked[0, 4] = True
    ids = ids_of("a violin")
    first = op.log_prob(relaxed_of(ids, masked, probs)).total
    ids[0, 5] = 7
    other = torch.cat([probs[:1], mixture(1, seed=5)]).requires_grad_(True)
    second = op.log_prob(relaxed_of(ids, masked, other)).total
    torch.testing.assert_close(first, second)
    (gradient,) = torch.autograd.grad(second.sum(), other)
    assert gradient[0].abs().sum() > 0
    assert gradient[1].abs().sum() == 0


def test_hard_canvases_score_the_same_relaxed_and_as_text():
    op = operator()
    hard = torch.nn.functional.one_hot(IDS[MASKED], K).double()
    text = op.log_prob_ids(IDS)
    for relaxation in ("quantized", "expectation", "entropy"):
        soft = op.log_prob(relaxed_of(IDS, MASKED, hard, relaxation=relaxation))
        torch.testing.assert_close(soft.total.float(), text.total.float())
    assert set(text.terms) == set(soft.terms) == {"tiny"}
    assert not soft.terms["tiny"].requires_grad


def test_committed_special_tokens_are_left_out_as_in_the_text():
    """A fill token in the middle of a row is no text, so the relaxed side skips it too."""
    op = operator(prompts=["q"])
    ids = ids_of("a violin is")
    ids[0, 1] = FILL
    masked = torch.zeros(1, 6, dtype=torch.bool)
    masked[0, 0] = True
    hard = torch.nn.functional.one_hot(ids[masked], K).double()
    relaxed = op.log_prob(relaxed_of(ids, masked, hard)).total
    torch.testing.assert_close(relaxed.float(), op.log_prob_ids(ids).total.float())
    assert op.texts(ids) == ["a is"]


def test_a_committed_token_the_bridge_cannot_carry():
    """`restrict` reads on as if it were not there; `zero` and `unk` keep its place."""
    masked = torch.zeros(1, 6, dtype=torch.bool)
    masked[0, 0] = True
    with_it, without = ids_of("a unheard violin"), ids_of("a violin")
    hard = torch.nn.functional.one_hot(without[masked], K).double()
    scores = {}
    for policy in ("restrict", "zero", "unk"):
        op = operator(prompts=["q"], policy=policy)
        scores[policy] = op.log_prob(relaxed_of(with_it, masked, hard)).total
        plain = op.log_prob(relaxed_of(without, masked, hard)).total
        assert torch.allclose(scores[policy], plain) == (policy == "restrict")
    # The reward's own tokenizer reads the word as [UNK] too.
    text = operator(prompts=["q"]).log_prob_ids(with_it).total
    torch.testing.assert_close(scores["unk"].float(), text.float())


def test_take_reorders_everything_and_copies_no_table():
    op = operator(columns={"scale": [1.0, 2.0, -1.0]})
    rows = torch.tensor([2, 0, 0])
    other = op.take(rows)
    assert other.codebook is op.codebook
    assert other.bridge is op.bridge
    assert other.prompts == ["why q", "q", "q"]
    assert other.columns == {"scale": [-1.0, 1.0, 1.0]}
    torch.testing.assert_close(
        other.log_prob_ids(IDS[rows]).total, op.log_prob_ids(IDS).total[rows]
    )
    none = torch.zeros_like(MASKED)
    torch.testing.assert_close(
        other.log_prob(relaxed_of(IDS[rows], none, mixture(0))).total,
        op.log_prob(relaxed_of(IDS, none, mixture(0))).total[rows],
    )
    assert op.prompts == PROMPTS


def test_matched_mass_is_shared_and_leaves_the_stop_token_out():
    op = operator()
    assert op.stats.mass == 1
    unheard = GENERATOR.convert_tokens_to_ids("unheard")
    probs = torch.zeros(int(MASKED.sum()), K, dtype=torch.float64)
    probs[:, unheard], probs[:, 7], probs[:, STOP] = 0.1, 0.3, 0.6
    op.take(torch.tensor([0, 1, 2])).log_prob(relaxed_of(IDS, MASKED, probs))
    assert op.stats.mass == pytest.approx(0.75)
    assert BridgeStats(matched=0.0, text=0.0).mass == 1


def test_a_black_box_and_the_rloo_policy_have_no_gradient():
    def length(completions, **columns):
        return [float(len(c)) for c in completions]

    for op in (operator(length), operator(policy="rloo")):
        assert not op.differentiable
        assert op.codebook is None
        with pytest.raises(ValueError, match="'tiny' has no gradient; use estimator='rloo'"):
            op.log_prob(relaxed_of(IDS, MASKED, mixture(int(MASKED.sum()))))
    assert operator(length).log_prob_ids(IDS).total.tolist() == [17.0, 8.0, 30.0]
    taken = operator(length).take(torch.tensor([1]))
    assert taken.log_prob_ids(IDS[1:2]).total.tolist() == [8.0]


def test_messages_columns_ids_and_finish_reach_a_black_box():
    seen = {}

    def record(prompts, completions, completion_ids, reference, **columns):
        seen.update(completions=completions, ids=completion_ids, reference=reference)
        return [0.0] * len(prompts)

    chat = [{"role": "user", "content": "q"}]
    op = operator(
        record, prompts=[chat, "q"], columns={"reference": ["r", "s"]}, finish=str.capitalize
    )
    op.log_prob_ids(IDS[:2])
    said = [{"role": "assistant", "content": "A violin is large"}]
    assert seen["completions"] == [said, "The lion"]
    assert seen["reference"] == ["r", "s"]
    assert seen["ids"] == [IDS[0, :4].tolist(), IDS[1, :2].tolist()]


def test_equal_texts_of_a_prompt_are_counted():
    op = operator(lambda prompts, completions, **columns: [0.0] * len(prompts))
    for _ in range(2):
        op.log_prob_ids(IDS[:3])
    assert {found[1] for found in op.stats.same.values()} == {2}
    assert {found[0] for found in op.stats.same.values()} == set(op.texts(IDS[:3]))


def test_the_real_relevance_reward_relaxed_and_as_text():
    """MiniLM behind a generator of other ids: equal scores on hard canvases to 1e-4."""
    relevance = Relevance()
    prompts = ["What is a violin?", "What is a lion?", "Who sings?"]
    op = operator(relevance, prompts=prompts)
    hard = torch.nn.functional.one_hot(IDS[MASKED], K).float()
    relaxed = op.log_prob(relaxed_of(IDS, MASKED, hard)).total
    torch.testing.assert_close(relaxed, op.log_prob_ids(IDS).total.float(), atol=1e-4, rtol=0)
    probs = mixture(int(MASKED.sum())).float().requires_grad_(True)
    total = op.log_prob(relaxed_of(IDS, MASKED, probs)).total
    (gradient,) = torch.autograd.grad(total.sum(), probs)
    assert gradient.isfinite().all()
    assert (gradient.abs().sum(-1) > 0).all()


class Broken(TinyReward):
    def __init__(self, result):
        super().__init__()
        self.result = result

    def score_embeds(self, embeds, *rest, **columns):
        return self.result

    def __call__(self, prompts, completions, **columns):
        raise OSError("the judge is asleep")


def test_errors_name_reward_value_and_mend():
    relaxed = relaxed_of(IDS, MASKED, mixture(int(MASKED.sum())))
    with pytest.raises(RuntimeError, match=r"'tiny' returned shape \(2,\) from score_embeds for 3"):
        operator(Broken(torch.zeros(2))).log_prob(relaxed)
    with pytest.raises(
        RuntimeError, match=r"returned nan from score_embeds for prompt 1 \('why is"
    ):
        operator(Broken(torch.tensor([0.0, float("nan"), 0.0]))).log_prob(relaxed)
    with pytest.raises(RewardError, match=r"'tiny' raised on prompt 0 .*OSError: the judge"):
        operator(Broken(None)).log_prob_ids(IDS)
    with pytest.raises(ValueError, match=r"shape \(2, 6\) .* bound to 3 prompts; use take"):
        operator().log_prob_ids(IDS[:2])
    with pytest.raises(ValueError, match="at least one prompt"):
        operator(prompts=[])
    with pytest.raises(ValueError, match="column 'scale' has 1 values for 3 prompts"):
        operator(columns={"scale": [1.0]})
    with pytest.raises(ValueError, match="unknown policy 'guess'"):
        operator(policy="guess")


def test_decoding_stops_drops_and_trims():
    rows = ids_of("a violin is", "", "the cat sings the large violin")
    assert decode_canvas(GENERATOR, rows, (STOP,)) == [
        "a violin is",
        "",
        "the cat sings the large violin",
    ]
    rows[0, 1] = MASK
    assert decode_canvas(GENERATOR, rows, (STOP,))[0] == "a is"
    lion = GENERATOR.convert_tokens_to_ids("lion")
    cat = GENERATOR.convert_tokens_to_ids("cat")
    rows = torch.tensor([[cat, lion, cat, STOP, cat, STOP], [lion, 10_000, STOP, FILL, FILL, FILL]])
    assert decode_canvas(GENERATOR, rows, (STOP, lion)) == ["cat", ""]
    assert decode_canvas(GENERATOR, rows, (STOP,), drop=(lion,)) == ["cat cat", ""]
    assert answer_ids(rows, (STOP,), (lion,)) == [[cat, cat], [10_000]]
    assert decode_canvas(GENERATOR, rows, ()) == ["cat lion cat cat", "lion"]
    with pytest.raises(ValueError, match=r"\(B, L\) ids, got shape \(6,\)"):
        decode_canvas(GENERATOR, rows[0], ())


def test_a_row_to_which_a_reward_does_not_apply_counts_as_nothing():
    def second_only(completions, **columns):
        return [None, 3.0, None][: len(completions)]

    found = operator(second_only).log_prob_ids(ids_of("the cat", "a lion", "so"))
    assert found.total.tolist() == [0.0, 3.0, 0.0]
    assert found.applies.tolist() == [False, True, False]


def test_a_bridge_keeps_codes_for_one_state_of_one_table():
    """Another table, dtype or shape, and the same table changed in place, give new codes."""
    bridge, table = operator().bridge, TinyReward().embedding_table()
    first = bridge.codebook(table)
    assert bridge.codebook(table) is first
    tables = [table + 1, table.float(), table[:, :-1], torch.cat([table, table[:1]])]
    for other in tables:
        ids = bridge.matched.nonzero()[:, 0]
        assert bridge.codebook(other).embed(ids).equal(other[bridge.map[ids]])
        assert bridge.codebook(table).embed(ids).equal(table[bridge.map[ids]])
    changed = table.clone()
    bridge.codebook(changed)
    changed += 1
    assert bridge.codebook(changed).embed(ids).equal(changed[bridge.map[ids]])

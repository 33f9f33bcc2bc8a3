"""The guide's code runs as it is printed: every ```python block of docs/rewards.md, in order."""

from __future__ import annotations

import re

import torch
from aps_rewards import is_differentiable
from paths import ROOT

GUIDE = ROOT / "docs" / "rewards.md"


def test_the_guide_runs():
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 6
    names: dict = {}
    for block in blocks:
        exec(compile(block, GUIDE.name, "exec"), names)

    # The differentiable example keeps the promise the guide asks for.
    reward = names["Concrete"]()
    assert is_differentiable(reward)
    text = "a rock made of stone"
    before, after = reward.frame("q")
    middle = reward.tokenizer(text, add_special_tokens=False)["input_ids"]
    mask = torch.ones(1, len(before) + len(middle) + len(after), dtype=torch.long)
    embeds = reward.embedding_table()[torch.tensor([[*before, *middle, *after]])]
    score = reward.score_embeds(embeds, mask, mask.cumsum(1) - 1, prompts=["q"])
    torch.testing.assert_close(score, torch.tensor(reward(["q"], [text])), atol=1e-4, rtol=0)
    out = names["pipe"]("What is a violin?", reward, steps=2)
    assert out.cost.reward_backwards > 0
    assert out.rewards.bridges["Concrete"].mass > 0.9

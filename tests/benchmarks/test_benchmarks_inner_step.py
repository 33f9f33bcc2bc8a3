"""`benchmarks/inner_step.py`: it times steps that move phi."""

from __future__ import annotations

import sys

import torch
from inner_step import Distance, Given, main, seconds

from aps_text.core.codebook import LFQCodebook, Relaxed


def test_it_prints_both_and_their_ratio(monkeypatch, capsys):
    line = ["inner_step.py", "--positions", "4", "--bits", "3", "--steps", "1", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", line)
    threads = torch.get_num_threads()
    main()
    torch.set_num_threads(threads)
    shown = capsys.readouterr().out
    assert "N = 4, K = 8, 2 threads" in shown
    assert "inner step" in shown
    assert len(seconds(4, 3, 1)) == 2


def test_the_operator_has_a_gradient_and_an_optimum():
    book = LFQCodebook(2)
    operator = Distance(book, book.embed(torch.tensor([[3, 0]])))
    assert operator.log_prob_ids(torch.tensor([[3, 0]])).total.tolist() == [0]
    probs = torch.full((2, 4), 0.25, requires_grad=True)
    at = torch.tensor([0, 0]), torch.tensor([0, 1])
    ids = torch.zeros(1, 2, dtype=torch.long)
    relaxed = Relaxed(ids, *at, probs, torch.ones(1, 2, dtype=torch.bool), "expectation")
    (grad,) = torch.autograd.grad(operator.log_prob(relaxed).total.sum(), probs)
    assert grad.argmax(-1).tolist() == [3, 0]
    assert Given(torch.zeros(2, 4)).mask_id == 4

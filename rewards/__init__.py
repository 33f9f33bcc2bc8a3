"""Reward plug-ins: plain callables on text, optionally differentiable."""

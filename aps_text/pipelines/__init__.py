"""Pipelines, the interface for users: prompts and rewards in, answers out; image restoration."""

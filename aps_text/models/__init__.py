"""Denoisers: the embedded models, and layouts that read published checkpoints."""

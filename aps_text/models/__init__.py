"""Denoisers: the embedded models and adapters over published checkpoints."""

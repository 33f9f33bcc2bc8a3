"""Sampling methods, one per file, all with the signature of `aps_text.core.sampler.Method`."""

"""Sampling methods, one a file, all with the signature of `aps_text.core.sampler.Method`."""

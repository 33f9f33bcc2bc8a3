"""Sampling methods, one a file, all with the signature of `aps_text.sampler.Method`."""

"""The sampler on tensors and Protocols; the only third-party import is torch."""

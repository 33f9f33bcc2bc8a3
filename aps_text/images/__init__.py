"""Images as tokens: tokenizers, degradations, measurements, metrics."""

"""The embedded image models: tokenizers, masked priors and classifiers."""

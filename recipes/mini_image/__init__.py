"""Training of the embedded image models: tokenizers, masked priors and classifiers."""

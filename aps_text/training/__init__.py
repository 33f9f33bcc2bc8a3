"""Training of the embedded text model: data, tokenizer, loop and quality report."""

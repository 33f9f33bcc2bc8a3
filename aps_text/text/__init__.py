"""Text input and output: prompts, drafts, decoding, and rewards on text as operators."""

"""Text in and out: prompts, the vocabulary bridge, the operator around a reward."""

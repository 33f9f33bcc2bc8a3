"""What users call: prompts and rewards in, answers out."""

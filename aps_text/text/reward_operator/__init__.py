"""A reward on text as an operator on tokens."""

"""Rewards on text as operators on canvases of tokens."""

"""The reward models `answer-quality` and `answer-quality-report`."""

"""Training of the reward models `answer-quality` and `answer-quality-report`."""

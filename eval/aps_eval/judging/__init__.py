"""Judging stored answers: rewards and metrics that a run did not report; nothing is generated."""

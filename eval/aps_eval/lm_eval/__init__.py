"""The pipeline as a model of lm-evaluation-harness."""

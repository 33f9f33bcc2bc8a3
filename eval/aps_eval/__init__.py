"""Evaluation harness: question sets, metrics, runs."""

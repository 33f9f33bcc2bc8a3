"""Property tests repeat the same examples on every run; what is imported is not garbage."""

import gc
import sys

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("repeatable")

# Looking for garbage in modules takes a tenth of the time of collecting the tests.
gc.disable()


def pytest_collection_finish(session):
    gc.freeze()
    gc.enable()


def pytest_unconfigure(config):
    if "triton" in sys.modules:  # its binding reports what is never collected, in thirty lines
        gc.unfreeze()

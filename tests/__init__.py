"""The tests. What they share is in :mod:`tests.helpers`, whose assertions explain themselves."""

import os

import pytest

# pytest has a worker for each core: threads of their own would only wait for each other.
for variable in ("OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(variable, "1")
pytest.register_assert_rewrite("tests.helpers")

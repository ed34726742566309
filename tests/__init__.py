"""The tests. What they share is in :mod:`tests.helpers`, whose assertions explain themselves."""

import pytest

pytest.register_assert_rewrite("tests.helpers")

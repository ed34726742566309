"""What the tests share: models, files, networks worked out by hand, and runs of Keras."""

import pytest

pytest.register_assert_rewrite(__name__)

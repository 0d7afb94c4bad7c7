"""Explain failed assertions of the shared suites as those of the tests themselves."""

import pytest

pytest.register_assert_rewrite("lgsp.testing.contracts")

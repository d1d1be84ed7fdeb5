"""What several test files share: the real models, loaded once a run."""

import pytest

from llmsafety_lab import models


@pytest.fixture(scope="session")
def minilm():
    return models.load("minilm", attn_implementation="eager")


@pytest.fixture(scope="session")
def smollm2():
    return models.load("smollm2", attn_implementation="eager")

"""What several test files share: the real models, loaded once a run, and what to do where there is no sandbox."""

import os

import pytest
import torch
from hypothesis import settings

from llmsafety_lab import models
from llmsafety_lab.course.grading.sandbox import why_not

pytest_plugins = ["kept"]

settings.register_profile("course", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("course")

NO_SANDBOX = None if os.environ.get("CI") else why_not()
collect_ignore = ["test_grade.py", "test_gradescope.py", "test_hostile.py"] if NO_SANDBOX else []


def pytest_terminal_summary(terminalreporter):
    if NO_SANDBOX:
        terminalreporter.write_line(f"Grading was not tested: {NO_SANDBOX}.")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def minilm():
    return models.load("minilm", attn_implementation="eager")


@pytest.fixture(scope="session")
def smollm2():
    return models.load("smollm2", attn_implementation="eager")

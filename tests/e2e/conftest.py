import pytest

from tests.e2e.harness import Workplace


@pytest.fixture
def place(tmp_path):
    workplace = Workplace(tmp_path)
    yield workplace
    workplace.close()

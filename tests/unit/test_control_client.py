"""The client of the control socket against planes that die in the middle of their answer."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from midflight.apps.control.client import ControlClient
from midflight.domain.errors import Unavailable


@pytest.fixture
def path() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mf-"))  # socket paths are short
    yield folder / "c.sock"
    shutil.rmtree(folder)


def answering(path: Path, answer: bytes) -> threading.Thread:
    """A plane that says this to the first caller and is gone."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(1)

    def serve() -> None:
        with listening, listening.accept()[0] as connection:
            connection.recv(65_536)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


WHOLE = b'HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{"id":"r_1"}'


def test_a_whole_answer_is_read(path: Path) -> None:
    plane = answering(path, WHOLE)
    assert ControlClient(path).post("/v1/runs") == {"id": "r_1"}
    plane.join()


@pytest.mark.parametrize("size", [0, 9, 36, 38, 39, 40, len(WHOLE) - 1])
def test_an_answer_that_breaks_off_is_not_taken_for_one(path: Path, size: int) -> None:
    plane = answering(path, WHOLE[:size])
    with pytest.raises(Unavailable) as caught:
        ControlClient(path).post("/v1/revocations")
    assert "may have happened" in str(caught.value)
    plane.join()

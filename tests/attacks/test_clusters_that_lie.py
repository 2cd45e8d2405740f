"""TokenReview: answers of a cluster, or of something in its place, that must not pass a token.

The API server is a small one of the test, over real TLS: no cluster is started here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from authority import Authority

from midflight.adapters.documents.token_review import KubernetesTokenReview
from midflight.apps.server.tls import server_context
from midflight.domain.errors import MidflightError, Unauthenticated, Unavailable

pytestmark = pytest.mark.anyio

AUDIENCE = "https://plane.example.test"
SUBJECT = "system:serviceaccount:agents:triage"
GOOD: dict[str, Any] = {
    "authenticated": True,
    "user": {"username": SUBJECT},
    "audiences": [AUDIENCE],
}


class Cluster:
    """Answers every question alike, and keeps the last one."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.token_file = folder / "token"
        self.token_file.write_text("own-token\n")
        self.head = b""
        self.body: dict[str, Any] = {}
        self.answer = b""
        self.port = 0

    def says(self, value: Any, *, status: int = 201) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.answer = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = await reader.readuntil(b"\r\n\r\n")
        length = int(self.head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.body = json.loads(await reader.readexactly(length))
        writer.write(self.answer)
        await writer.drain()
        writer.close()

    def review(self, **changes: Any) -> KubernetesTokenReview:
        values: dict[str, Any] = {
            "server": f"https://localhost:{self.port}",
            "ca": self.authority.file,
            "token_file": self.token_file,
            **changes,
        }
        return KubernetesTokenReview(**values)

    async def confirm(self, **changes: Any) -> None:
        await self.review(**changes).confirm("a.pods.token", audience=AUDIENCE, subject=SUBJECT)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncGenerator[Cluster]:
    made = Cluster(tmp_path)
    context = server_context(*made.authority.issue("localhost"), now=1_800_000_000)
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield made


async def test_a_token_that_the_cluster_stands_by_passes(cluster: Cluster) -> None:
    cluster.says({"status": GOOD})
    await cluster.confirm()
    assert cluster.body["spec"] == {"token": "a.pods.token", "audiences": [AUDIENCE]}
    assert cluster.head.startswith(b"POST /apis/authentication.k8s.io/v1/tokenreviews ")
    assert b"Authorization: Bearer own-token\r\n" in cluster.head


@pytest.mark.parametrize(
    "changes",
    [
        {"authenticated": False},
        {"authenticated": "true"},
        {"authenticated": 1},
        {"user": {"username": "system:serviceaccount:agents:other"}},
        {"user": {}},
        {"user": SUBJECT},
        {"audiences": []},
        {"audiences": None},
        {"audiences": AUDIENCE},
        {"audiences": ["https://kubernetes.default.svc"]},
    ],
)
async def test_an_answer_that_is_not_a_whole_yes_is_a_no(
    cluster: Cluster, changes: dict[str, Any]
) -> None:
    cluster.says({"status": GOOD | changes})
    with pytest.raises(Unauthenticated):
        await cluster.confirm()


@pytest.mark.parametrize("answer", [{}, {"status": None}, {"status": []}, []])
async def test_an_answer_without_a_status_is_a_no(cluster: Cluster, answer: Any) -> None:
    cluster.says(answer)
    with pytest.raises(Unauthenticated):
        await cluster.confirm()


@pytest.mark.parametrize("status", [200, 301, 401, 403, 500])
async def test_a_cluster_that_does_not_answer_is_no_yes(cluster: Cluster, status: int) -> None:
    cluster.says({"status": GOOD} if status != 200 else b"<html>", status=status)
    with pytest.raises(Unavailable):
        await cluster.confirm()


async def test_somebody_in_the_place_of_the_cluster_gets_no_token(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.says({"status": GOOD})
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(MidflightError) as caught:
        await cluster.confirm(ca=Authority(other).file)
    assert isinstance(caught.value, Unavailable)
    assert cluster.head == b""
    for text in ("", "a\nb", "a b\x00"):
        cluster.token_file.write_text(text)
        if text != "a\nb":
            with pytest.raises(Unavailable):
                await cluster.confirm()
    cluster.token_file.unlink()
    with pytest.raises(Unavailable):
        await cluster.confirm()

"""Small stand-ins for a container daemon and a kubelet: they speak the documented shapes over HTTP.

No real daemon is needed to run the tests; what these answer follows Docker's Engine API
(`GET /containers/{id}/json`) and the kubelet's `GET /pods` (a `v1.PodList`).
"""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

CONTAINER = "4f" * 32
POD = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
DOCKER_GROUP = f"/system.slice/docker-{CONTAINER}.scope"
POD_GROUP = (
    f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD.replace('-', '_')}.slice"
    f"/cri-containerd-{CONTAINER}.scope"
)


class Answers:
    """What a daemon answers, by path; anything else is 404. `seen` holds what was asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.status = 200
        self.raw: bytes | None = None
        self.seen: list[tuple[str, dict[str, str]]] = []


def inspected(main: int = 100, **config: Any) -> dict[str, Any]:
    """What Docker's inspect says of `CONTAINER`."""
    return {
        "Id": CONTAINER,
        "State": {"Status": "running", "Running": True, "Pid": main},
        "Image": "sha256:" + "ab" * 32,
        "Config": {
            "Image": "registry.example/agent:1",
            "Labels": {"com.example.role": "triage"},
            "Env": ["ROLE=triage", "PASSWORD=planted-secret"],
        }
        | config,
    }


def pods(container: str = f"containerd://{CONTAINER}") -> dict[str, Any]:
    """What the kubelet lists."""
    return {
        "kind": "PodList",
        "apiVersion": "v1",
        "items": [
            {
                "metadata": {
                    "name": "triage-0",
                    "namespace": "agents",
                    "uid": POD,
                    "labels": {"app": "triage"},
                },
                "spec": {"serviceAccountName": "triage", "nodeName": "node-1"},
                "status": {
                    "containerStatuses": [
                        {
                            "name": "agent",
                            "image": "registry.example/agent:1",
                            "containerID": container,
                        }
                    ]
                },
            }
        ],
    }


@contextlib.contextmanager
def daemon(folder: Path, answers: Answers) -> Iterator[str]:
    """A daemon on a Unix socket; its path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            body = answers.raw or json.dumps(answers.answers.get(self.path)).encode()
            known = self.path in answers.answers
            self.send_response(answers.status if known else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- its name there
            del format, args

        def address_string(self) -> str:
            return "unix"

    path = str(folder / "daemon.sock")
    with socketserver.ThreadingUnixStreamServer(path, Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield path
        finally:
            server.shutdown()
            thread.join()


__all__ = [
    "CONTAINER",
    "DOCKER_GROUP",
    "POD",
    "POD_GROUP",
    "Answers",
    "daemon",
    "inspected",
    "pods",
]

"""The `k8s` attestor: what the kubelet of this node says of a process's pod.

Pod and container come from the process's control group beneath the node's `kubepods`, which only
the kubelet names; the kubelet's `GET /pods` must list both. Selectors as SPIRE names them:
`k8s:ns`, `k8s:sa`, `k8s:pod-label:K:V`, `k8s:pod-name`, `k8s:pod-uid`, `k8s:node-name`,
`k8s:container-name`, `k8s:container-image`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from midflight.adapters.attestation.local_http import Connect, get_json
from midflight.adapters.attestation.proc import container_of, fact, pod_of
from midflight.adapters.attestation.proc_files import cgroup_of
from midflight.domain.attestation import Process, Selector
from midflight.domain.errors import Unavailable

_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


class K8sAttestor:
    """See the module."""

    type = "k8s"

    def __init__(
        self,
        connect: Connect,
        *,
        token_file: Path | None = None,
        timeout_s: float = 3.0,
        cgroup: Callable[[int], str | None] = cgroup_of,
    ) -> None:
        """`token_file` holds the bearer token for the kubelet; read each time, for it rotates."""
        self._connect = connect
        self._token_file = token_file
        self._timeout_s = timeout_s
        self._cgroup = cgroup

    async def attest(self, process: Process) -> Sequence[Selector]:
        """Facts about its pod; empty if it is in none. `Unavailable`: nothing is known."""
        return await asyncio.to_thread(lambda: tuple(self._facts(process.pid)))

    def _facts(self, pid: int) -> Iterator[Selector]:
        path = self._cgroup(pid) or ""
        uid, container = pod_of(path), container_of(path)
        if uid is None or container is None:
            return
        listed = get_json(
            self._connect, "/pods", headers=self._headers(), timeout_s=self._timeout_s
        )
        for pod in _list(_object(listed).get("items")):
            metadata = _object(_object(pod).get("metadata"))
            if str(metadata.get("uid", "")).replace("-", "") == uid.replace("-", ""):
                yield from _of(_object(pod), metadata, container)
                return

    def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            token = self._token_file.read_text("ascii").strip()
        except (OSError, UnicodeError) as error:
            raise Unavailable(f"Its token cannot be read ({type(error).__name__}).") from None
        return {"authorization": f"Bearer {token}"}


def _of(pod: dict[str, Any], metadata: dict[str, Any], container: str) -> Iterator[Selector]:
    status = _object(pod.get("status"))
    running = next(
        (
            each
            for kind in _STATUSES
            for each in map(_object, _list(status.get(kind)))
            if str(each.get("containerID", "")).rpartition("//")[2] == container
        ),
        None,
    )
    if running is None:
        # The pod is listed and this container not yet, or no more: somebody may have named it.
        return
    spec = _object(pod.get("spec"))
    for name, value in (
        ("ns", metadata.get("namespace")),
        ("pod-name", metadata.get("name")),
        ("pod-uid", metadata.get("uid")),
        ("sa", spec.get("serviceAccountName")),
        ("node-name", spec.get("nodeName")),
        ("container-name", running.get("name")),
        ("container-image", running.get("image")),
    ):
        if isinstance(value, str):
            yield from fact("k8s", name, value)
    for name, value in sorted(_object(metadata.get("labels")).items()):
        if isinstance(value, str):
            yield from fact("k8s", f"pod-label:{name}", value)


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


__all__ = ["K8sAttestor"]

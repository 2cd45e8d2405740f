"""The `docker` attestor: what the Docker or Podman daemon says of a process's container.

The container's id comes from the process's control group, whose name a user may choose below its
own; so the daemon must name a main process of that container whose control group holds this one.
Selectors as SPIRE names them: `docker:label:K:V`, `docker:env:K=V` (of variables that the
settings name, since others hold secrets), `docker:image_id:NAME`,
`docker:image_config_digest:sha256:…`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, cast

from midflight.adapters.attestation.local_http import Connect, get_json
from midflight.adapters.attestation.proc import container_of, fact, is_within
from midflight.adapters.attestation.proc_files import cgroup_of
from midflight.domain.attestation import Process, Selector


class DockerAttestor:
    """See the module."""

    type = "docker"

    def __init__(
        self,
        connect: Connect,
        *,
        env: Collection[str] = (),
        timeout_s: float = 3.0,
        cgroup: Callable[[int], str | None] = cgroup_of,
    ) -> None:
        """`env` names the variables that become selectors."""
        self._connect = connect
        self._env = frozenset(env)
        self._timeout_s = timeout_s
        self._cgroup = cgroup

    async def attest(self, process: Process) -> Sequence[Selector]:
        """Facts about its container; empty if it is in none. `Unavailable`: nothing is known."""
        return await asyncio.to_thread(lambda: tuple(self._facts(process.pid)))

    def _facts(self, pid: int) -> Iterator[Selector]:
        path = self._cgroup(pid)
        container = None if path is None else container_of(path)
        if path is None or container is None:
            return
        found = get_json(self._connect, f"/containers/{container}/json", timeout_s=self._timeout_s)
        said = _object(found)
        if said.get("Id") != container or not self._holds(path, said):
            return
        config = _object(said.get("Config"))
        for name, value in sorted(_object(config.get("Labels")).items()):
            if isinstance(value, str):
                yield from fact("docker", f"label:{name}", value)
        for variable in _list(config.get("Env")):
            if isinstance(variable, str) and variable.partition("=")[0] in self._env:
                yield from fact("docker", "env", variable)
        for name, value in (
            ("image_id", config.get("Image")),
            ("image_config_digest", said.get("Image")),
        ):
            if isinstance(value, str):
                yield from fact("docker", name, value)

    def _holds(self, path: str, said: dict[str, Any]) -> bool:
        main = _object(said.get("State")).get("Pid")
        if not isinstance(main, int) or main <= 0:
            return False
        group = self._cgroup(main)
        return group is not None and is_within(path, group)


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


__all__ = ["DockerAttestor"]

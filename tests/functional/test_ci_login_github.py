"""`midflight ci login` as a job of GitHub: token, discovery, keys and exchange, over real TLS.

The issuer has a certificate of an authority of its own, which plane and job are told about.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from counterpart_kit import free_port
from github_kit import WORKFLOW, GitHub, github
from pydantic import ValidationError

from functional.test_ci_login import call
from gateways import AGENT, Gateway, running_gateway
from midflight.apps.cli.ci_exchange import JobKey
from midflight.apps.settings_ci import IssuerSection
from servers.sdk_server import Served, over_http

pytestmark = pytest.mark.anyio

PINNED = {
    "repository_id": "74",
    "repository_owner_id": "65",
    "job_workflow_ref": WORKFLOW,
    "ref": "refs/heads/main",
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def issuer(authority: Authority) -> Iterator[GitHub]:
    with github(*authority.issue("github")) as one:  # for `localhost`
        yield one


@contextlib.asynccontextmanager
async def plane_for(
    folder: Path, issuer: GitHub, *, served: Served | None = None, **section: Any
) -> AsyncIterator[tuple[Gateway, str]]:
    """A plane that takes tokens of this issuer; its URL."""
    address = f"127.0.0.1:{free_port()}"
    rule = {"workload": AGENT, "write": True, "claims": PINNED}
    row = {
        "name": "github",
        "kind": "github",
        "issuer": issuer.issuer,
        "allow_private": True,
        "rules": (rule,),
        **section,
    }
    async with (
        over_http(served) as upstream,
        running_gateway(
            folder,
            [{"name": "one", "url": upstream, "reach": "closed"}],
            gateway={"listen": address, "public_url": f"http://{address}"},
            ci={"issuer": (row,)},
        ) as gateway,
    ):
        await gateway.pin_all()
        yield gateway, f"http://{address}"


async def log_in(folder: Path, plane: str, issuer: GitHub, ca: Path | None) -> tuple[int, str, str]:
    """`midflight ci login` in a process of its own: exit code, output, errors."""
    passed = ("PATH", "PYTHONPATH")
    environment = {name: os.environ[name] for name in passed if name in os.environ}
    environment |= {"HOME": str(folder), "RUNNER_TEMP": str(folder), **issuer.environment}
    if ca is not None:
        environment["SSL_CERT_FILE"] = str(ca)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "midflight.apps.cli.main", "ci", "login"),
        *("--plane", plane, "--format", "json"),
        env=environment,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await child.communicate()
    assert child.returncode is not None
    return child.returncode, out.decode(), error.decode()


SUBJECTS: dict[str, dict[str, str]] = {
    "old": {},
    "immutable": {"sub": "repo:acme@65/app@74:ref:refs/heads/main"},
    "environment": {
        "sub": "repo:acme@65/app@74:environment:production",
        "environment": "production",
        "environment_node_id": "EN_kwDOJ",
    },
    "renamed": {
        "sub": "repo:zenith@65/rocket@74:ref:refs/heads/main",
        "repository": "zenith/rocket",
        "repository_owner": "zenith",
    },
}


async def test_a_job_of_github_acts_whatever_its_subject_looks_like(
    tmp_path: Path, issuer: GitHub, authority: Authority
) -> None:
    served = Served()
    async with plane_for(tmp_path, issuer, served=served, ca=authority.file) as (gateway, plane):
        for number, (name, changes) in enumerate(SUBJECTS.items()):
            issuer.changes = {"run_id": str(number), **changes}
            code, out, error = await log_in(tmp_path, plane, issuer, authority.file)
            assert code == 0, (name, error)
            got = json.loads(out)
            key = JobKey.kept((Path(got["directory"]) / "key.json").read_bytes())
            answer = await call(plane, got["token"], key)
            assert answer.status_code == 200, answer.text
        runs = await gateway.plane.parts.store.list_runs(workload=AGENT)
        assert len(runs) == len(SUBJECTS)
    assert served.calls == ["echo"] * len(SUBJECTS)
    # The jobs asked for their tokens, the plane for metadata and keys, once; nobody for more.
    assert [each for each in issuer.asked if each != "/token"] == [
        "/.well-known/openid-configuration",
        "/.well-known/jwks",
    ]


STRANGERS: dict[str, dict[str, str]] = {
    "a repository of the same name": {"repository_id": "75"},
    "an owner of the same name": {"repository_owner_id": "66"},
    "another workflow": {"job_workflow_ref": WORKFLOW.replace("release", "build")},
    "another branch": {"ref": "refs/heads/mine"},
    "a subject that says so": {
        "repository_id": "75",
        "sub": "repo:acme@65/app@74:ref:refs/heads/main",
    },
}


async def test_a_job_that_only_has_the_right_names_is_refused(
    tmp_path: Path, issuer: GitHub, authority: Authority
) -> None:
    async with plane_for(tmp_path, issuer, ca=authority.file) as (_, plane):
        for name, changes in STRANGERS.items():
            issuer.changes = changes
            code, out, error = await log_in(tmp_path, plane, issuer, authority.file)
            assert (code != 0, out) == (True, ""), name
            assert "No rule" in error, name


@pytest.mark.parametrize("trusted", ["another", "system"])
async def test_keys_of_whom_the_authority_did_not_name_are_not_believed(
    tmp_path: Path, issuer: GitHub, authority: Authority, trusted: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = Authority(elsewhere)
    section = {"ca": other.file} if trusted == "another" else {}
    async with plane_for(tmp_path, issuer, **section) as (gateway, plane):
        code, out, error = await log_in(tmp_path, plane, issuer, authority.file)
        assert await gateway.plane.parts.store.list_runs(workload=AGENT) == []
    assert (code != 0, out) == (True, "")
    assert "cannot be had" in error
    assert "Traceback" not in error
    # Only the job got as far as a request.
    assert issuer.asked == ["/token"]


async def test_a_certificate_for_another_name_is_not_believed(
    tmp_path: Path, issuer: GitHub, authority: Authority
) -> None:
    where = issuer.issuer.replace("localhost", "127.0.0.1")
    section = {"ca": authority.file, "jwks_uri": f"{where}/.well-known/jwks"}
    async with plane_for(tmp_path, issuer, **section) as (_, plane):
        code, _, error = await log_in(tmp_path, plane, issuer, authority.file)
    assert code != 0
    assert "cannot be had" in error
    assert issuer.asked == ["/token"]


async def test_metadata_of_another_issuer_is_not_followed(
    tmp_path: Path, issuer: GitHub, authority: Authority
) -> None:
    issuer.metadata["issuer"] = "https://token.actions.githubusercontent.com"
    async with plane_for(tmp_path, issuer, ca=authority.file) as (_, plane):
        code, _, error = await log_in(tmp_path, plane, issuer, authority.file)
    assert code != 0
    assert "cannot be had" in error
    assert "/.well-known/jwks" not in issuer.asked


async def test_a_job_does_not_show_its_bearer_to_a_server_it_cannot_verify(
    tmp_path: Path, issuer: GitHub, authority: Authority
) -> None:
    async with plane_for(tmp_path, issuer, ca=authority.file) as (_, plane):
        code, out, error = await log_in(tmp_path, plane, issuer, None)
    assert (code != 0, out) == (True, "")
    assert "GitHub gave no token" in error
    assert issuer.asked == []


def test_an_authority_that_is_none_is_found_out_when_settings_are_read(
    tmp_path: Path, authority: Authority
) -> None:
    row: dict[str, Any] = {
        "name": "github",
        "kind": "github",
        "rules": [{"workload": AGENT, "claims": PINNED}],
    }
    empty, keys = tmp_path / "none.pem", tmp_path / "keys.json"
    empty.touch()
    keys.write_text('{"keys": []}')
    with pytest.raises(ValidationError, match="no certificates of authorities"):
        IssuerSection(**row, ca=empty)
    with pytest.raises(ValidationError, match="nothing is fetched"):
        IssuerSection(**row, ca=authority.file, jwks_file=keys)

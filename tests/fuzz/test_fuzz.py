"""Runs every harness of this folder for a bounded number of inputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_HERE = Path(__file__).parent
_HARNESSES = sorted(_HERE.glob("fuzz_*.py"))
_SEEDS = {
    "fuzz_json": [b'{"a":[1,2.5,"\\u00e9"],"b":{"a":null}}', b'{"a":1,"\\u0061":2}'],
    "fuzz_messages": [
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{}}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"progressToken":1}}}',
        b'[{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}]',
    ],
    "fuzz_sse": [b"\x03event: e\r\nid: 1\r\nretry: 5\r\ndata: a\rdata: b\n\n: c\n\n"],
    "fuzz_headers": [b"run\x00=?base64?cnVu?=42.0"],
}

# What takes 10 to 20 seconds each; most inputs of the first two end at the first byte.
_RUNS = {
    "fuzz_json": 1_000_000,
    "fuzz_messages": 500_000,
    "fuzz_sse": 100_000,
    "fuzz_headers": 100_000,
}


def test_every_harness_has_seeds() -> None:
    assert {path.stem for path in _HARNESSES} == set(_SEEDS) == set(_RUNS)


@pytest.mark.parametrize("harness", _HARNESSES, ids=lambda path: path.stem)
def test_no_input_breaks_a_decoder(harness: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(_SEEDS[harness.stem]):
        (corpus / str(number)).write_bytes(seed)
    done = subprocess.run(  # noqa: PLW1510 -- the return code is asserted with the output
        [
            sys.executable,
            str(harness),
            f"-runs={_RUNS[harness.stem]}",
            f"-dict={_HERE / 'json.dict'}",
            "-max_len=512",
            "-rss_limit_mb=1024",
            "-timeout=10",
            f"-artifact_prefix={tmp_path}/",
            str(corpus),
        ],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "DONE" in done.stderr or "Done" in done.stderr

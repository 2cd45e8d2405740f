"""A gateway with everything real but the network beyond loopback."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateways import running_gateway


@pytest.fixture
def gateway_factory(tmp_path: Path) -> Any:
    """`running_gateway` in this test's folder."""

    def make(upstreams: Sequence[dict[str, Any]], **more: Any) -> Any:
        return running_gateway(tmp_path, upstreams, **more)

    return make

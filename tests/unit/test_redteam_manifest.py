"""Which traits count for the tools behind recorded runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from midflight.apps.redteam.manifest import traits_of
from midflight.domain.errors import Misconfigured
from midflight.domain.reviews import Review, Reviews
from midflight.domain.tool import Definition, PinnedKind
from midflight.domain.traits import Effect, Reach, Traits
from midflight.domain.value import JSONObject
from midflight.wire.traits_file import render

TOOL: JSONObject = {"name": "open_card", "inputSchema": {"properties": {}}}


def reviewed(folder: Path, upstream: str) -> Path:
    traits = Traits(effect=Effect.GRANT, reach=Reach.CLOSED, reviewed=True)
    definition = Definition(upstream=upstream, kind=PinnedKind.TOOL, name="open_card", body=TOOL)
    review = Review(name="open_card", digest=definition.digest(), traits=traits)
    path = folder / "x.toml"
    path.write_text(render(Reviews(upstream=upstream, tools=(review,))))
    return path


@pytest.mark.parametrize(
    ("recorded", "in_files"),
    [("desk", "desk"), ("front_desk", "front-desk"), ("DeskAPI", "deskapi"), ("a.b C", "a-b-c")],
)
def test_a_recorded_upstream_is_known_to_files_by_a_name_that_settings_could_give(
    tmp_path: Path, recorded: str, in_files: str
) -> None:
    told = traits_of({recorded: [TOOL]}, [reviewed(tmp_path, in_files)])
    assert told[recorded, "open_card"].effect is Effect.GRANT
    assert told[recorded, "open_card"].reviewed


@pytest.mark.parametrize(
    ("recorded", "count"), [(["front_desk", "front-desk"], 2), (["back_desk"], 0), ([], 0)]
)
def test_a_file_about_no_upstream_or_about_two_is_refused(
    tmp_path: Path, recorded: list[str], count: int
) -> None:
    path = reviewed(tmp_path, "front-desk")
    with pytest.raises(Misconfigured, match=f"the manifest has {count}"):
        traits_of({name: [TOOL] for name in recorded}, [path])


def test_two_upstreams_that_files_cannot_tell_apart_can_be_replayed_as_proposed() -> None:
    told = traits_of({"a_b": [TOOL], "a-b": [TOOL]})
    assert [one.reviewed for one in told.values()] == [False, False]

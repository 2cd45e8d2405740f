"""Whatever a process writes where /proc shows it, reading ends in facts or in nothing."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from midflight.adapters.attestation import proc
from midflight.wire.proc_stat import Stat, read_stat

ANY = st.one_of(
    st.binary(max_size=400),
    st.lists(
        st.sampled_from(
            [b"0::", b"/", b"..", b"kubepods", b"pod", b":", b"\n", b"a.service", b"@"]
        ),
        max_size=20,
    ).map(b"".join),
)


@given(raw=ANY)
@example(raw=b"1 (a) b) R " + b"9" * 5_000 + b" 0" * 20)
@example(raw=b"Uid:\t\xb2 1 1 1\nGid:\t1 1 1 1\n")
def test_any_bytes_are_read_without_an_error(raw: bytes) -> None:
    read_stat(raw)
    proc.read_status(raw)
    assert proc.read_namespaces(raw) >= 0
    proc.read_cmdline(raw)
    path = proc.read_cgroup(raw)
    if path is not None:
        assert path.startswith("/")
        assert ".." not in path.split("/")
        proc.unit_of(path)
        proc.container_of(path)
        proc.pod_of(path)


@given(name=st.binary(max_size=40), parent=st.integers(0, 2**22), started=st.integers(0, 2**60))
def test_no_name_of_a_process_moves_its_start(name: bytes, parent: int, started: int) -> None:
    rest = b" ".join([b"S", b"%d" % parent, *[b"0"] * 17, b"%d" % started, *[b"0"] * 20])
    stat = read_stat(b"7 (" + name + b") " + rest + b"\n")
    assert stat == Stat(parent=parent, started=started, ended=False)


@given(inner=st.text(st.characters(codec="ascii"), max_size=60))
def test_what_a_user_names_is_no_pod_and_no_unit_of_the_system(inner: str) -> None:
    path = "/user.slice/user-1000.slice/user@1000.service/" + inner
    assert proc.pod_of(path) is None
    assert proc.unit_of(path) == "user@1000.service"


@given(name=st.text(max_size=10), value=st.text(max_size=2_000))
def test_a_fact_can_be_written_and_read_again_or_is_none(name: str, value: str) -> None:
    for selector in proc.fact("unix", name, value):
        assert type(selector).parse(str(selector)) == selector

"""Adopting and collecting orphans, in processes of their own."""

from __future__ import annotations

import subprocess
import sys

PRELUDE = """
import asyncio, os, sys
from midflight.apps.control.processes import adopt_orphans, ancestry, keep_reaping, reap_orphans

def orphan(ends):
    '''A grandchild whose parent has ended; it ends when the other end of `ends` closes.'''
    reading, writing = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            # Its own copy of the other end would keep it from ever seeing that end close.
            os.close(release)
            os.close(reading)
            os.write(writing, b"%d" % os.getpid())
            os.close(writing)
            os.read(ends, 1)
            os._exit(0)
        os._exit(0)
    os.close(writing)
    pid = int(os.read(reading, 16))
    os.wait()
    return pid

def zombie(pid):
    return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] == "Z"

hold, release = os.pipe()
"""


def run(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_orphan_becomes_our_child_and_shows_as_our_descendant() -> None:
    run("""
assert adopt_orphans()
pid = orphan(hold)
assert [process.pid for process in ancestry(pid)][:2] == [pid, os.getpid()]
""")


def test_an_ended_orphan_is_collected_at_the_second_look() -> None:
    run("""
adopt_orphans()
pid = orphan(hold)
seen = set()
assert reap_orphans((), seen=seen) == 0 and not seen
os.write(release, b"x")
while not zombie(pid): os.sched_yield()
assert reap_orphans((), seen=seen) == 0 and seen == {pid}
assert reap_orphans((), seen=seen) == 1 and not seen
assert not os.path.exists(f"/proc/{pid}")
""")


def test_a_managed_child_is_left_to_its_owner() -> None:
    run("""
pid = os.fork()
if pid == 0: os._exit(7)
while not zombie(pid): os.sched_yield()
seen = set()
for _ in range(3): assert reap_orphans({pid}, seen=seen) == 0
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
""")


def test_orphans_are_collected_beside_what_runs() -> None:
    run("""
async def main():
    adopt_orphans()
    pid = orphan(hold)
    task = keep_reaping(every_s=0)
    os.write(release, b"x")
    while os.path.exists(f"/proc/{pid}"): await asyncio.sleep(0)
    task.cancel()
asyncio.run(main())
""")

"""A plane in memory and the parts that tests put into it, for Midflight's tests and its users'.

    clock.py      time and chance that stand still
    endorser.py   what an approval endorses, kept
    engine.py     a policy engine that answers what a test says
    upstream.py   both ends of a call: an upstream with scripted tools, a client that listens
    plane.py      real services over in-memory adapters
    words.py      actions, callers and decisions in few words

Nothing in the product imports this package.
"""

from midflight.testing.clock import FakeClock
from midflight.testing.endorser import ListEndorser
from midflight.testing.engine import FixedEngine
from midflight.testing.leases import ScriptedLeases
from midflight.testing.plane import MemoryPlane
from midflight.testing.upstream import ListSink, ScriptedUpstream
from midflight.testing.words import OPERATOR, WORKLOAD, call, caller, refuse

__all__ = [
    "OPERATOR",
    "WORKLOAD",
    "FakeClock",
    "FixedEngine",
    "ListEndorser",
    "ListSink",
    "MemoryPlane",
    "ScriptedLeases",
    "ScriptedUpstream",
    "call",
    "caller",
    "refuse",
]

"""The client command of the conformance suite: passes what it gets to a door, and the answer back.

Standard library alone, since the suite starts it for every scenario at once.
"""

import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as door:
    door.connect(sys.argv[1])
    asked = {
        "url": sys.argv[2],
        "scenario": os.environ["MCP_CONFORMANCE_SCENARIO"],
        "context": json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}")),
    }
    with door.makefile("rw", encoding="utf-8") as stream:
        stream.write(json.dumps(asked) + "\n")
        stream.flush()
        answer = json.loads(stream.readline())
sys.stderr.write(answer["said"])
sys.exit(answer["code"])

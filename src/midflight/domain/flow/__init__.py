"""Information flow: what a run has seen, where values came from, what its intent asks for.

Pure: text and values in, facts out. `text.py` makes forms of text comparable, `atoms.py` finds what
can be compared, `fields.py` says whose words a field holds, `index.py` remembers all of it for one
run, `words.py` and `intent.py` read what the principal asked for, `judge.py` puts it together.
Above: `services/flow.py`.
"""

from __future__ import annotations

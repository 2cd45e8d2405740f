"""The verbs of Midflight, async, with I/O only through `ports`.

Above stand adapters and apps; below stands `domain`. `wire` stands beside.
"""

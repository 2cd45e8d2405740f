"""Values and rules. No I/O, no clock, no randomness, no environment: time and ids are arguments.

Above stand `wire` and `services`; nothing stands below.
"""

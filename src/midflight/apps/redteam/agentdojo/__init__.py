"""Cases from the AgentDojo benchmark, made by its own code in an interpreter that has it.

`driver.py` is Midflight's side; `generate.py` and `repairs.py` run in the other interpreter, which
has the benchmark and need not have Midflight's dependencies: they import nothing but each other.
Only this folder may name the benchmark's tools.
"""

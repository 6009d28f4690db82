"""The real hub on a virtual clock, over a real Valkey that is reached through faults. One seed is one run.

`world.py` puts a run together, `scenario.py` says what a seed means, `nemesis.py` does the harm; `ending.py`, `promises.py` and
`watch.py` say what must hold.
"""

"""The whole service under faults: real hubs, real stores, many clients, and checks of what docs/guarantees.md promises.

`python -m tests.chaos` runs every scenario (scenarios/), each in a world of its own (world.py), and ends with a table. It
drives the service from outside; of `capacity` it uses the spelling of keys, the form of events and their signatures.
"""

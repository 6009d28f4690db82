"""What Capacity carries beyond one machine: costs measured on this one, and a simulation that spends them on many.

`store_costs.py` and `hub_costs.py` measure, `costs.py` keeps what they found. `machines.py` has simulated cores, hubs and stores,
`scenarios.py` asks them the questions of docs/scale.md, `reality.py` asks this machine one of them. `document.py` and `pictures.py`
write the answers down. It imports the other modules of `benchmarks`, and none of those imports it.
"""

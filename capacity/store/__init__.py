"""The Redis edge: keys, scripts, rooms, the feed, the plan-changed stream, the embedded Valkey.

May import `protocol`, `domain` and `errors`.
"""

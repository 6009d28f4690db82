"""The living part of one process: connections by room, group commit, fan-out, leases, the plan-changed consumer.

May import `store`, `protocol`, `domain` and `errors`; never `web` or `billing`.
"""

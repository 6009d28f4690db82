"""The billing desk: quotes, purchases, renewals, payments. It knows no rooms: what it says to the hub is a plan-changed event.

May import store, protocol and domain, and nothing of the hub. Start reading at `desk.Desk`.
"""

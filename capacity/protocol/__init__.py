"""Pure wire: messages and their codec, tokens, plan-changed events, signatures. No I/O; instants are arguments.

May import `domain` and `errors`.
"""

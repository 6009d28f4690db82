"""`capacity top`: every room and every hub of a store, live, as one plain table, or as one JSON document.

It reads the store and asks no hub: `reading` looks, `document` is what was seen, `view` says what of it is shown and in which
order, `table` draws that, and `screen` has the terminal.
"""

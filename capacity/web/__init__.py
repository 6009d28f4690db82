"""The edge: the socket protocol, HTTP routes, tokens, problem details, metrics, pages. May import everything below it."""

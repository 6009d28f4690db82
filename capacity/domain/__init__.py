"""Pure rules that we own: ids, near-full shares, plans. No I/O, no clock; imports nothing of the package but errors."""

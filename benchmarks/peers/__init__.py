"""The peers of the benchmark: each one program, in one file, that uses nothing of Capacity and nothing of the others."""

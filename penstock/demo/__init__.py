"""The demo: simulated LLM clusters, a load generator, and the story they are used to tell.

The simulator and the load generator are also what the end-to-end tests and the benchmarks are made with.
"""

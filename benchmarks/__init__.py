"""Measurements of accuracy, speed and memory; `python -m benchmarks` lists and runs them. Never part of the tests."""

"""Stages: thin functions that read files, call the pure modules, and write files with a manifest."""

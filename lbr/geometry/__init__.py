"""Poses, cameras and the half-pixel rule. Depends on numpy and scipy alone."""

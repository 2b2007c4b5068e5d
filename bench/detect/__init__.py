"""Labelled traffic, made by scripts, through the detectors of production: `make bench-detect`."""

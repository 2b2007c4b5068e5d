"""A worker that cannot be loaded."""

raise RuntimeError("the model file is damaged")

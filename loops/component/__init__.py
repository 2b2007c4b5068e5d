"""The component SDK: what the author of a component writes, and how it is validated and described."""

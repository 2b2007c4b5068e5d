"""The component SDK: what an author writes, and how it is validated and described."""

"""A package whose component has workers."""

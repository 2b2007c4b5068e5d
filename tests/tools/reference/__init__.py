"""Generator of docs/reference: pages that are made from the code's own tables."""

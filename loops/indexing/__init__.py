"""Texts of a component in the index of secondary/search: kept up to date, and found for who may read them there."""

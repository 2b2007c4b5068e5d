"""Sessions: table, policy, revocation, and the distribution of keys and rights."""

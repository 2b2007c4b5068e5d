"""Detection: signals, scores, escalation, actions, the learned detector."""

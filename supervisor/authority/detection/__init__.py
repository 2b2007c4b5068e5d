"""Detection and response: signals, scores, escalation, actions, the learned anomaly detector."""

"""What follows from offences: scores, and the steps that are taken."""

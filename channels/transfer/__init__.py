"""Files of any size, to a component and back: resumable, checked end to end, never half under their name."""

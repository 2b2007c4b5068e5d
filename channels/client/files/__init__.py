"""Transfer of files of any size to a component and back: resumable, checked end to end, written atomically."""

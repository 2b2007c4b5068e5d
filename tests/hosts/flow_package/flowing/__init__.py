"""Components that ask and are asked under load, and that remember on disk what they ran."""

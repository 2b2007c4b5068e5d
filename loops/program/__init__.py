"""Components that are programs: the side of them that runs in the component's own process, with its keys."""

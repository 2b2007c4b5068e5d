"""The learner: the process with the learned model. It holds no key and no name, and what it says is advice."""

"""Components of a host under chaos: they call all the time, write down what runs, and break when they are told to."""

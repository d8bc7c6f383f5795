"""Many runs of one configuration over a grid of its keys: on the cores of one machine, or on a Ray cluster."""

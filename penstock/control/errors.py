"""How starting the control plane fails."""


class StartError(Exception):
    """Why the control plane could not start, in a sentence for the operator."""

"""What a policy edit would do, before it is merged.

Two policy sets, the one in force and the one proposed, are put before the real engine and the real compiler on the
same inputs, and what comes of them is compared: :func:`penstock.plan.comparison.compare`. Everything here is pure
but for :mod:`penstock.plan.feeds`, which reads the price files that lie beside the proposed policies; the command
(:mod:`penstock.cli.plan`) does the rest of the reading and all of the writing. Nothing runs concurrently.
"""

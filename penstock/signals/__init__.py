"""The world as facts: health probes, load as the Envoys report it, and prices, gathered on one board.

Each source runs its own tasks on the event loop, writes to the
:class:`~penstock.signals.board.ObservationBoard`, and calls ``notify()`` when something a decision could depend on has
changed. No source decides anything.
"""

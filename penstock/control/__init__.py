"""The composition root: the running control plane, put together from the parts that know nothing of one another.

Everything here runs on one event loop. :mod:`penstock.control.plane` owns the state in force,
:mod:`penstock.control.serve` starts and stops the parts round it.
"""

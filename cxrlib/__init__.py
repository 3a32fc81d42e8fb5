"""cxrlib: pneumonia in chest X-rays — read, explain, train, judge.

Importing the package imports none of its rooms, so that an app which only shows finished
runs never pays for what trains or reads with them.
"""

__version__ = "0.2.0"

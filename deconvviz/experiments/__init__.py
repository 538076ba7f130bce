"""The experiments of Zeiler and Fergus (2013), on any network: one file and one function for each.

No experiment imports another. What each finds is a frozen result with a table, a verdict and a figure.
"""

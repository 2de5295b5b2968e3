"""The lab: every figure that the documents state, measured on real servers, with its raw results.

It imports Holdfast and is imported by nothing. `python -m lab.bench --list` says what there is.
"""

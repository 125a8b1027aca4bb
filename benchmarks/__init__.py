"""Side by side with the peers: `make bench`, or `python -m benchmarks --help`.

From top to bottom: `sections` say what is measured and how it is shown; `rounds` lets competitors
take turns; `workers` starts a process for each, `worker` is that process; `peers` holds an adapter
for each library. `bars` holds what the figures are held to, `remarks.md` what is to be said of
them; `store` keeps raw figures in results.json, from which `report` writes RESULTS.md.

To add a peer, write `peers/<name>.py` with ``build(case)`` and enter it in `libraries`;
`python -m benchmarks check` then tests what it computes. To add a section, write
`sections/<name>.py` like the others and enter it in `sections/__init__.py`.
"""

"""What the harness reads and computes. `tests/run.sh` runs it; by itself:
`python3 -m unittest discover -s benches/compare/lab/tests -t benches/compare`."""

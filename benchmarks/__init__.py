"""Speed and memory, shown rather than tested: `python -m benchmarks NAME [--json] [--full]` from the root."""

"""What the kernels of S2 compile to, how many are launched, and what that costs: read, not timed.

    python -m benchmarks.kernels [--sm 90] [--json FILE]

No card is needed. docs/benchmarks.md states the model behind the predictions.

    launches.py      a real-size model without memory, and what its passes launch
    machine_code.py  a launch compiled for some card, and what is in its loop
    prediction.py    milliseconds per step on cards, from both
    bars.py          what was promised, beside what is
"""

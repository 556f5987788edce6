"""What finds, cuts out and names objects in a focus stack.

Face: `analyser`, `errors`, `settings`, `stopwatch`, `wording`.
"""

import os

# From 1.29 on onnxruntime tells its makers of the computer it runs on unless this is set before it is first imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import subprocess
import sys

TORCH_FREE = [
    "daemon.cli",
    "daemon.scan",
    "daemon.calibrating",
    "daemon.microscope",
    "daemon.recorder",
    "daemon.emulate",
    "daemon.control",
    "daemon.detecting",
    "daemon.ordering",
    "daemon.watch",
    "daemon.extract",
    "daemon.guard",
    "daemon.sheet",
    "daemon.monitor.command",
    "drivers.emulated",
]


def test_processes_that_must_survive_the_gpu_never_import_torch() -> None:
    code = "import sys\n" + "".join(f"import {name}\n" for name in TORCH_FREE) + "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

import subprocess
import sys

TORCH_FREE = [
    "lamelle",
    "daemon.cli.app",
    "daemon.night.scan",
    "daemon.calibration_runs.run",
    "daemon.children.microscope",
    "daemon.recorder.server",
    "daemon.emulation.export",
    "daemon.live.order_server",
    "daemon.reprocessing.detect",
    "daemon.live.order_client",
    "daemon.monitor.terminal_watch",
    "daemon.exchange.objects",
    "daemon.alerts.guard",
    "daemon.figures.contact_sheet",
    "daemon.monitor.command",
    "drivers.emulated.core",
]


def test_processes_that_must_survive_the_gpu_never_import_torch() -> None:
    code = "import sys\n" + "".join(f"import {name}\n" for name in TORCH_FREE) + "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

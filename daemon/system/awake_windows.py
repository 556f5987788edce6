"""The power request of Windows. Written after its documentation; nobody has run it on Windows yet."""

from __future__ import annotations

import ctypes

RESTARTS = (
    "Windows may still restart for its updates: set its active hours, or its policy of no restart with users logged on"
)
_SIMPLE_STRING = 1
_SYSTEM_REQUIRED = 1
_EXECUTION_REQUIRED = 3
_INVALID = ctypes.c_void_p(-1).value


class _Detailed(ctypes.Structure):
    _fields_ = (
        ("module", ctypes.c_void_p),
        ("identifier", ctypes.c_ulong),
        ("count", ctypes.c_ulong),
        ("strings", ctypes.c_void_p),
    )


class _Reason(ctypes.Union):
    _fields_ = (("detailed", _Detailed), ("text", ctypes.c_wchar_p))


class _ReasonContext(ctypes.Structure):
    """REASON_CONTEXT of `PowerCreateRequest`."""

    _fields_ = (("version", ctypes.c_ulong), ("flags", ctypes.c_ulong), ("reason", _Reason))


def request_power(why: str) -> tuple[int | None, str | None]:
    """Ask Windows to stay awake; returns the request, and what a person should know."""
    kernel = _kernel()
    context = _ReasonContext(version=0, flags=_SIMPLE_STRING)
    context.reason.text = why
    request = kernel.PowerCreateRequest(ctypes.byref(context))
    if request in (None, _INVALID):
        return (
            None,
            f"Windows takes no power request, so it may go to sleep; switch that off in its settings. {RESTARTS}",
        )
    granted = [
        bool(kernel.PowerSetRequest(ctypes.c_void_p(request), kind)) for kind in (_SYSTEM_REQUIRED, _EXECUTION_REQUIRED)
    ]
    if not granted[0]:
        release_power(request)
        return (
            None,
            f"Windows refuses the power request, so it may go to sleep; switch that off in its settings. {RESTARTS}",
        )
    return request, RESTARTS


def release_power(request: int) -> None:
    """Take the request back."""
    _kernel().CloseHandle(ctypes.c_void_p(request))


def _kernel() -> ctypes.CDLL:
    kernel: ctypes.CDLL = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    kernel.PowerCreateRequest.restype = ctypes.c_void_p
    return kernel

"""Searches focus with the microscope: sweeps of one polarization, each planned by the sharpness of those before."""

from __future__ import annotations

from daemon.children.analysis_link import AnalysisLink
from daemon.children.microscope_link import MicroscopeLink
from daemon.config.model import NightConfig
from daemon.night.reporter import Reporter
from daemon.planning.focus_bounds import search_for
from daemon.protocols.pipes import Expose
from daemon.records.events import EventName
from daemon.records.fields import PlannedField
from daemon.records.records import FocusResult
from daemon.system.errors import RequestFailed
from daemon.system.retry import persist
from drivers.microscope import Sweep
from drivers.settings import MiniSlide


class FocusSearch:
    """Finds the focus of a field before its stack is exposed."""

    def __init__(
        self, config: NightConfig, microscope: MicroscopeLink, analysis: AnalysisLink, reporter: Reporter
    ) -> None:
        self._config = config
        self._microscope = microscope
        self._analysis = analysis
        self._reporter = reporter

    async def near(
        self, expected_z_um: float, slide: MiniSlide, planned: PlannedField, slot: int, before: int
    ) -> FocusResult | None:
        """Search around `expected_z_um` through a slot of the ring; None, and an event, where nothing was found.

        Parameters
        ----------
        before
            how often the field was exposed in earlier attempts.

        Raises
        ------
        RequestFailed
            The instrument is out of order.
        """
        steps = search_for(self._config, slide, expected_z_um)
        try:
            sweep = next(steps)
            while True:
                first_z_um = round(float(sweep.first_z_um), 3)
                state = self._config.scan.polarizations[:1]
                await self._expose(planned, Sweep(first_z_um, sweep.step_um, sweep.planes, state, (0,)), slot, before)
                sweep = steps.send(await self._analysis.sharpness(slot, sweep.planes))
        except StopIteration as end:
            found = end.value
        except RequestFailed as fault:
            if fault.fault_of == "instrument":
                raise
            return None
        if found is None:
            message = f"nothing to focus on near z {expected_z_um:.2f} um; the field is taken there"
            self._reporter.emit("info", EventName.FOCUS_NOT_FOUND, message, planned)
            return None
        window, step_um = slide.z_window_um, self._config.scan.step_um
        if found.at_edge or min(found.z_um - window.low, window.high - found.z_um) < step_um:
            self._reporter.emit(
                "warning",
                EventName.FOCUS_OUT_OF_REACH,
                f"the sharpest plane, z {found.z_um:.2f} um, lies at the end of what may be looked at, so focus may "
                f"lie beyond; check z_um and z_window_um of mini-slide {planned.slide} and focus.search_um",
                planned,
            )
        return FocusResult(
            z_um=round(float(found.z_um), 3), at_edge=bool(found.at_edge), contrast=float(found.contrast)
        )

    async def _expose(self, planned: PlannedField, sweep: Sweep, slot: int, before: int) -> None:
        def report_fault(error: RequestFailed, last: bool) -> None:
            if error.fault_of == "instrument":
                raise error
            what = "the field is taken without a search" if last else "exposing again"
            self._reporter.emit("warning", EventName.FAULT, f"{error}; {what}", planned, fault=error.kind)

        await persist(
            lambda tries: self._microscope.expose(
                Expose(planned=planned, exposed=before + tries, sweep=sweep, slot=slot)
            ),
            self._config.retry.attempts,
            report_fault,
        )

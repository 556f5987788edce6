"""The calibration routines: each yields what to move and expose, and ends in numbers with uncertainties.

Face: `dark`, `flat`, `focus_map`, `illumination`, `micrometer`, `photon_transfer`, `pixel_size`, `place_finding`,
`polarization`, `retarder`, `stage_z`, `trigger`.
"""

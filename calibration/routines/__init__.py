"""The calibration routines: each yields what to move and expose, and ends in numbers with uncertainties."""

"""The processes that work for a night, microscope and analysis, and the supervisor's ends of them.

Face: `analysis`, `analysis_link`, `child`, `hold`, `microscope_link`.
"""

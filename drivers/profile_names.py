"""Profiles of the virtual slide by their names: the command line lists them without loading any settings."""

from typing import Literal

Profile = Literal["easy", "trap", "coccolith", "reference", "mixed", "species", "blank"]

"""What calibration routines ask of a frame: how bright it is, whether it is saturated, how much its pixels vary."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.steps import NotUsable

Image = NDArray[np.float32]
NEIGHBOURHOOD = 5
"""Side, in px, of what a single pixel is compared with."""
FULL_SHARE = 0.02
"""Share of pixels at a frame's greatest value above which it is taken to be saturated there."""


def saturated(frame: NDArray[np.uint16], share: float = FULL_SHARE) -> bool:
    """Whether so much of a frame (H, W) lies at its greatest value: noise spreads light, a full camera does not."""
    greatest = int(frame.max())
    return greatest > 0 and float(np.mean(frame == greatest)) > share


def refuse_no_light(signal_dn: float, noise_dn: float, state: str, exposure_ms: float) -> None:
    """Refuse to go on where light cannot be told from none: a signal below the noise of a pixel.

    Raises
    ------
    NotUsable
        There is no light.
    """
    if not signal_dn > noise_dn:
        raise NotUsable(
            f"{state} at {exposure_ms:g} ms is only {signal_dn:.1f} DN brighter than darkness, whose noise is "
            f"{noise_dn:.1f} DN; check lamp, shutter and what stands in the light's way"
        )


def refuse_saturated(frames: NDArray[np.uint16], state: str, exposure_ms: float, share: float = FULL_SHARE) -> None:
    """Refuse to go on where more than a share of one of the frames (N, H, W) is saturated.

    Raises
    ------
    NotUsable
        It is.
    """
    if any(saturated(frame, share) for frame in frames):
        raise NotUsable(
            f"{state} at {exposure_ms:g} ms is saturated at {int(frames.max())} DN over more than {share:.0%} of "
            f"the frame; lower the lamp or instrument.polarizations.{state}.exposure_ms"
        )


def noise_dn(frames: NDArray[np.uint16]) -> float:
    """Estimate the standard deviation of a pixel from the first two frames of (N, H, W), whatever a few pixels do.

    1.4826 times the median absolute deviation is that of normal noise.
    """
    difference = frames[1].astype(np.float32) - frames[0]
    return float(1.4826 * np.median(np.abs(difference - np.median(difference))) / np.sqrt(2))


def beside(image: Image) -> Image:
    """Return of each pixel the median of its neighbourhood."""
    return np.asarray(cv2.medianBlur(np.asarray(image, np.float32), NEIGHBOURHOOD))

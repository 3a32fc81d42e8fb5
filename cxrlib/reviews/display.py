"""Display windows for reading a radiograph on a screen."""

import numpy as np

# Shares of the image's greys that are black and white. A radiograph of 8 bits has no scale of
# its own as CT has: lungs are its dark half, bone its bright one.
_SHARES = {
    "auto": (0.005, 0.995),
    "lung": (0.01, 0.6),
    "soft tissue": (0.25, 0.93),
    "bone": (0.5, 0.999),
}


def window_presets(pixels: np.ndarray) -> dict[str, tuple[int, int]]:
    """Grey levels shown as black and white, by the preset's name.

    Args:
        pixels: ``uint8 [height, width]``; pure black and white, borders and letters mostly, are
            not counted.
    """
    inside = pixels[(pixels > 0) & (pixels < 255)]
    if not inside.size:
        return dict.fromkeys(_SHARES, (0, 255))
    presets = {}
    for name, shares in _SHARES.items():
        low, high = np.quantile(inside, shares)
        presets[name] = int(low), max(int(high), int(low) + 1)
    return presets

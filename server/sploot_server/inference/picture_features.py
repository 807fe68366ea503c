"""ORB features of a picture (Rublee et al., "ORB", 2011), by which templates are recognized.

Letters are masked: a caption differs from meme to meme, and letters look alike in all of them. Runs in worker processes
only.
"""

from collections.abc import Iterable

import cv2
import numpy as np
from PIL import Image

from sploot_server.domain.template_features import DESCRIPTOR_BYTES, FEATURES_MAX, FEATURES_SIDE_PX
from sploot_server.inference.template_index import pack_features

MASK_MARGIN_PX = 2  # around letters, whose outlines reach beyond their boxes
EDGE_PX = 12
FAST_THRESHOLD = 8

Quad = Iterable[tuple[float, float]]


def compute_features(picture: Image.Image, text_boxes: Iterable[Quad], *, mirrored: bool = False) -> bytes:
    """Return the features of a picture, of its mirror image if `mirrored`; `text_boxes` are corners, in its pixels."""
    scale = FEATURES_SIDE_PX / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    grey = np.asarray(picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0).convert("L"))
    mask = np.full(grey.shape, 255, np.uint8)
    for box in text_boxes:
        corners = np.array([[x * scale, y * scale] for x, y in box], np.int32)
        cv2.fillPoly(mask, [corners], 0)
        cv2.polylines(mask, [corners], isClosed=True, color=0, thickness=2 * MASK_MARGIN_PX + 1)
    if mirrored:
        grey, mask = np.ascontiguousarray(grey[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
    orb = cv2.ORB.create(nfeatures=FEATURES_MAX, edgeThreshold=EDGE_PX, fastThreshold=FAST_THRESHOLD)
    points, descriptors = orb.detectAndCompute(grey, mask)
    if descriptors is None:
        descriptors = np.empty((0, DESCRIPTOR_BYTES), np.uint8)
    return pack_features(
        np.array([point.pt for point in points]).reshape(-1, 2), descriptors.astype(np.uint8, copy=False)
    )

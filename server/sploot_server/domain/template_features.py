"""The features of pictures, by which templates and near-duplicates are recognized: their format and limits.

A picture has up to FEATURES_MAX features: a place in the picture, shrunk to FEATURES_SIDE_PX, and a descriptor of 256
bits of what is there. They are stored as one row of FEATURE_BYTES each: x and y as little-endian uint16, then the
descriptor.
"""

FEATURES_MAX = 200
FEATURES_SIDE_PX = 320
DESCRIPTOR_BYTES = 32
FEATURE_BYTES = 4 + DESCRIPTOR_BYTES
TEMPLATE_FEATURES_MIN = 30  # a picture with fewer cannot be told from others

/** Zoom of the viewer's picture: the scale, and how far the picture is moved from the middle of its place. */

export const SCALE_MAX = 8;

/** @typedef {{scale: number, x: number, y: number}} Zoom `x` and `y` in pixels of the screen */

/** @type {Zoom} */
export const NO_ZOOM = { scale: 1, x: 0, y: 0 };

/**
 * Zoom by `factor` so that the point under the pointer stays where it is.
 * @param {Zoom} zoom
 * @param {number} factor
 * @param {{x: number, y: number}} point from the middle of the place
 * @param {{width: number, height: number}} picture its size on the screen without zoom
 * @returns {Zoom}
 */
export function zoomAt(zoom, factor, point, picture) {
  const scale = Math.min(SCALE_MAX, Math.max(1, zoom.scale * factor));
  if (scale === 1) return NO_ZOOM;
  const ratio = scale / zoom.scale;
  const moved = { scale, x: point.x - (point.x - zoom.x) * ratio, y: point.y - (point.y - zoom.y) * ratio };
  return panBy(moved, { x: 0, y: 0 }, picture);
}

/**
 * Move the picture, at most until its edge is in the middle of its place.
 * @param {Zoom} zoom
 * @param {{x: number, y: number}} by
 * @param {{width: number, height: number}} picture its size on the screen without zoom
 * @returns {Zoom}
 */
export function panBy({ scale, x, y }, by, { width, height }) {
  const [maxX, maxY] = [((scale - 1) * width) / 2, ((scale - 1) * height) / 2];
  return { scale, x: Math.min(maxX, Math.max(-maxX, x + by.x)), y: Math.min(maxY, Math.max(-maxY, y + by.y)) };
}

/**
 * Justified rows: pictures in their own ratios, every row as wide as the wall, all rows about equally high.
 *
 * The rows of a list of 100,000 pictures depend on all ratios before them, and most are not loaded. So each page of the
 * list is laid out alone and all of its rows are full; only the last row of the whole list may be short.
 */

export const GAP_PX = 5;
const RATIO = { min: 0.4, max: 3.2 }; // a picture beyond is cropped: it would be a line
const UNKNOWN_RATIO = 1;
const ROW_PX = { min: 150, max: 320, base: 125, perPx: 0.07 }; // by the width of the wall
const FULLEST = 0.55; // of the wanted height: rows that are lower are not considered
/** Ratios of pictures that are not loaded, so that their places look like a wall. */
const SKELETON_RATIOS = [1.33, 1, 0.8, 1.5, 1, 1.2, 0.75, 1.78, 1, 1.33, 0.9];

/**
 * @typedef {{index: number, x: number, width: number}} WallBox `index` in the whole list
 * @typedef {{y: number, px: number, boxes: WallBox[]}} WallRow `y` from the top of the page, `px` the height
 * @typedef {{rows: WallRow[], px: number}} WallLayout `px` is the height with a gap below the last row
 */

/**
 * Return the row height to aim at on a wall of this width.
 * @param {number} width
 */
export function rowPxFor(width) {
  return Math.round(Math.min(ROW_PX.max, Math.max(ROW_PX.min, ROW_PX.base + width * ROW_PX.perPx)));
}

/**
 * Return width / height of a picture's place.
 * @param {{width: number | null, height: number | null}} asset
 */
export function ratioOf({ width, height }) {
  const ratio = width && height ? width / height : UNKNOWN_RATIO;
  return Math.min(RATIO.max, Math.max(RATIO.min, ratio));
}

/**
 * Return the ratio of the place of a picture that is not loaded.
 * @param {number} index
 */
export function skeletonRatio(index) {
  return SKELETON_RATIOS[index % SKELETON_RATIOS.length] ?? UNKNOWN_RATIO;
}

/**
 * Lay out one page of pictures. Breaks it where the rows differ least from the wanted height, all rows together
 * (dynamic programming, as in paragraphs of text).
 * @param {{index: number, ratio: number}[]} pictures
 * @param {{width: number, rowPx: number, isLast: boolean}} wall `isLast`: the last row need not be full
 * @returns {WallLayout}
 */
export function layoutPage(pictures, { width, rowPx, isLast }) {
  const count = pictures.length;
  const costs = [0];
  const starts = [0];
  for (let end = 1; end <= count; end += 1) {
    let [best, start] = [Infinity, end - 1];
    let ratios = 0;
    for (let from = end - 1; from >= 0; from -= 1) {
      ratios += pictures[from]?.ratio ?? 0;
      const px = (width - (end - from - 1) * GAP_PX) / ratios;
      if (px < rowPx * FULLEST && from < end - 1) break;
      const deviation = isLast && end === count && px > rowPx ? 0 : Math.log(Math.max(1, px) / rowPx) ** 2;
      const cost = (costs[from] ?? 0) + deviation;
      if (cost < best) [best, start] = [cost, from];
    }
    costs[end] = best;
    starts[end] = start;
  }
  /** @type {[number, number][]} */
  const ranges = [];
  for (let end = count; end > 0; end = starts[end] ?? 0) ranges.unshift([starts[end] ?? 0, end]);
  let y = 0;
  const rows = ranges.map(([start, end]) => {
    const row = layoutRow(pictures.slice(start, end), { width, rowPx, isShort: isLast && end === count });
    const placed = { ...row, y };
    y += row.px + GAP_PX;
    return placed;
  });
  return { rows, px: y };
}

/**
 * @param {{index: number, ratio: number}[]} pictures
 * @param {{width: number, rowPx: number, isShort: boolean}} wall
 */
function layoutRow(pictures, { width, rowPx, isShort }) {
  const ratios = pictures.reduce((sum, { ratio }) => sum + ratio, 0);
  const full = (width - (pictures.length - 1) * GAP_PX) / ratios;
  const exact = isShort ? Math.min(full, rowPx) : full;
  let end = 0;
  const boxes = pictures.map(({ index, ratio }) => {
    const x = Math.round(end);
    end += ratio * exact;
    const box = { index, x, width: Math.max(1, Math.round(end) - x) };
    end += GAP_PX;
    return box;
  });
  return { px: Math.max(1, Math.round(exact)), boxes };
}

/**
 * Return the picture of a row that is nearest to the horizontal position `x`.
 * @param {WallRow} row
 * @param {number} x
 */
export function nearestInRow({ boxes }, x) {
  const distance = (/** @type {WallBox} */ box) => Math.abs(box.x + box.width / 2 - x);
  return boxes.reduce((nearest, box) => (distance(box) < distance(nearest) ? box : nearest));
}

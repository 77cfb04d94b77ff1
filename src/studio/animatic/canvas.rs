//! One picture in the encoder's own colours (planar 4:2:0, BT.709, limited range), and what
//! is laid over it.

/// A colour as the encoder wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Yuv {
    pub(super) y: u8,
    pub(super) u: u8,
    pub(super) v: u8,
}

impl Yuv {
    pub(super) const WHITE: Self = Self { y: 235, u: 128, v: 128 };

    /// From gamma-coded red, green and blue, each 0 to 1 (BT.709, limited range).
    pub(super) fn from_rgb([red, green, blue]: [f32; 3]) -> Self {
        let [y, u, v] = planes_of_rgb([red, green, blue]).map(|value| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to a byte"
            )]
            let value = value.round().clamp(0.0, 255.0) as u8;
            value
        });
        Self { y, u, v }
    }
}

/// Luma and the two chroma values, unrounded, of red, green and blue from 0 to 1.
pub(super) fn planes_of_rgb([red, green, blue]: [f32; 3]) -> [f32; 3] {
    let luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    [
        16.0 + 219.0 * luma,
        128.0 + 224.0 * (blue - luma) / 1.8556,
        128.0 + 224.0 * (red - luma) / 1.5748,
    ]
}

/// One picture.
#[derive(Debug, Clone)]
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) y: Vec<u8>,
    pub(super) u: Vec<u8>,
    pub(super) v: Vec<u8>,
}

/// A stencil: how much of each pixel a shape covers, in full size and, for the chroma planes,
/// in half size.
#[derive(Debug, Clone)]
pub(super) struct Mask {
    /// Left edge on the canvas; even.
    x: i32,
    /// Upper edge on the canvas; even.
    y: i32,
    width: usize,
    height: usize,
    coverage: Vec<u8>,
    half: Vec<u8>,
}

impl Mask {
    /// A mask from the coverage of a whole canvas, cut down to what is covered and given an
    /// empty border. `None` where nothing is covered.
    pub(super) fn cut_from(sheet: &Sheet) -> Option<Self> {
        let covered_row = |row: &&[u8]| row.iter().any(|&coverage| coverage > 0);
        let rows = || sheet.coverage.chunks_exact(sheet.width);
        let top = rows().position(|row| covered_row(&row))?;
        let bottom = sheet.height - rows().rev().position(|row| covered_row(&row))?;
        let mut left = sheet.width;
        let mut right = 0;
        for row in rows() {
            if let Some(first) = row.iter().position(|&coverage| coverage > 0) {
                left = left.min(first);
                let last = row.iter().rposition(|&coverage| coverage > 0).unwrap_or(first);
                right = right.max(last + 1);
            }
        }
        // Two empty pixels around let a fraction of a pixel be sampled without a special case.
        let (left, top) = (even_below(left), even_below(top));
        let (left_edge, top_edge) = (signed(left) - 2, signed(top) - 2);
        let width = (right - left).next_multiple_of(2) + 4;
        let height = (bottom - top).next_multiple_of(2) + 4;
        let mut coverage = vec![0; width * height];
        for row in top..bottom {
            let from = &sheet.coverage[row * sheet.width..][left..right];
            coverage[(row - top + 2) * width + 2..][..from.len()].copy_from_slice(from);
        }
        let mut half = vec![0; width * height / 4];
        for (row, line) in half.chunks_exact_mut(width / 2).enumerate() {
            let upper = &coverage[row * 2 * width..][..width];
            let lower = &coverage[(row * 2 + 1) * width..][..width];
            for ((cell, upper), lower) in
                line.iter_mut().zip(upper.chunks_exact(2)).zip(lower.chunks_exact(2))
            {
                let sum = u16::from(upper[0])
                    + u16::from(upper[1])
                    + u16::from(lower[0])
                    + u16::from(lower[1]);
                *cell = u8::try_from(sum / 4).unwrap_or(u8::MAX);
            }
        }
        Some(Self { x: left_edge, y: top_edge, width, height, coverage, half })
    }
}

fn even_below(value: usize) -> usize {
    value - value % 2
}

fn signed(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// A whole canvas of coverage, on which shapes are drawn before they become a [`Mask`].
#[derive(Debug, Clone)]
pub(super) struct Sheet {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) coverage: Vec<u8>,
}

impl Sheet {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, height, coverage: vec![0; width * height] }
    }

    /// Adds coverage from 0 to 1 at a pixel; outside of the sheet nothing happens.
    pub(super) fn add(&mut self, x: i64, y: i64, coverage: f32) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x < self.width && y < self.height {
            let cell = &mut self.coverage[y * self.width + x];
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to a byte"
            )]
            let added = (coverage.clamp(0.0, 1.0) * 255.0).round() as u8;
            *cell = cell.saturating_add(added);
        }
    }

    /// Covers a rectangle fully.
    pub(super) fn rectangle(&mut self, x: usize, y: usize, width: usize, height: usize) {
        for row in y..(y + height).min(self.height) {
            let end = (x + width).min(self.width);
            if let Some(cells) = self.coverage[row * self.width..][..self.width].get_mut(x..end) {
                cells.fill(255);
            }
        }
    }
}

/// A shift in 256ths of a pixel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shift {
    pub(super) x: i32,
    pub(super) y: i32,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize) -> Self {
        let chroma = width / 2 * (height / 2);
        Self {
            width,
            height,
            y: vec![16; width * height],
            u: vec![128; chroma],
            v: vec![128; chroma],
        }
    }

    /// Lays a colour over the picture through a mask. `opacity` is 0 to 256.
    pub(super) fn lay(&mut self, mask: &Mask, color: Yuv, opacity: u32, shift: Shift) {
        if opacity == 0 {
            return;
        }
        let full = Stencil {
            coverage: &mask.coverage,
            width: mask.width,
            height: mask.height,
            x: mask.x * 256 + shift.x,
            y: mask.y * 256 + shift.y,
        };
        full.lay(&mut self.y, self.width, color.y, opacity);
        let half = Stencil {
            coverage: &mask.half,
            width: mask.width / 2,
            height: mask.height / 2,
            x: full.x / 2,
            y: full.y / 2,
        };
        half.lay(&mut self.u, self.width / 2, color.u, opacity);
        half.lay(&mut self.v, self.width / 2, color.v, opacity);
    }

    /// Fills an upright rectangle; edges are rounded outwards to even pixels.
    pub(super) fn fill(
        &mut self,
        (x, y): (usize, usize),
        (width, height): (usize, usize),
        color: Yuv,
        opacity: u32,
    ) {
        let fill = |plane: &mut [u8], stride: usize, divisor: usize, value: u8| {
            let (left, right) = (x / divisor, (x + width).div_ceil(divisor).min(stride));
            let rows = plane.chunks_exact_mut(stride);
            for row in rows.skip(y / divisor).take((height / divisor).max(1)) {
                for cell in row.get_mut(left..right).unwrap_or_default() {
                    *cell = mix(*cell, value, opacity);
                }
            }
        };
        fill(&mut self.y, self.width, 1, color.y);
        fill(&mut self.u, self.width / 2, 2, color.u);
        fill(&mut self.v, self.width / 2, 2, color.v);
    }
}

/// `weight` 256ths of `over` on `under`.
#[expect(clippy::cast_possible_truncation, reason = "a mean of two bytes")]
pub(super) fn mix(under: u8, over: u8, weight: u32) -> u8 {
    let mixed = u32::from(under) * (256 - weight) + u32::from(over) * weight + 128;
    (mixed >> 8) as u8
}

/// One plane of a mask in its place, in 256ths of the plane's pixels.
struct Stencil<'a> {
    coverage: &'a [u8],
    width: usize,
    height: usize,
    x: i32,
    y: i32,
}

impl Stencil<'_> {
    fn lay(&self, plane: &mut [u8], stride: usize, value: u8, opacity: u32) {
        let (left, right_share) = (self.x.div_euclid(256), self.x.rem_euclid(256).unsigned_abs());
        let (top, lower_share) = (self.y.div_euclid(256), self.y.rem_euclid(256).unsigned_abs());
        let rows = signed(plane.len() / stride);
        for row in 1..signed(self.height) {
            let at = top + row;
            if at < 0 || at >= rows {
                continue;
            }
            let row = row.unsigned_abs() as usize;
            let below = &self.coverage[row * self.width..][..self.width];
            let above = &self.coverage[(row - 1) * self.width..][..self.width];
            let first = (-left).max(1).unsigned_abs() as usize;
            let last = (signed(stride) - left).clamp(0, signed(self.width)).unsigned_abs() as usize;
            if first >= last {
                continue;
            }
            let start = (left + signed(first)).unsigned_abs() as usize;
            let line = &mut plane[at.unsigned_abs() as usize * stride..][start..][..last - first];
            if right_share == 0 && lower_share == 0 {
                for (cell, &coverage) in line.iter_mut().zip(&below[first..last]) {
                    if coverage > 0 {
                        *cell = mix(*cell, value, weight(u32::from(coverage), opacity));
                    }
                }
                continue;
            }
            // A shift to the right and down takes from the pixels left of and above this one.
            let windows = below[first - 1..last].windows(2).zip(above[first - 1..last].windows(2));
            for (cell, (below, above)) in line.iter_mut().zip(windows) {
                let lower =
                    u32::from(below[1]) * (256 - right_share) + u32::from(below[0]) * right_share;
                let upper =
                    u32::from(above[1]) * (256 - right_share) + u32::from(above[0]) * right_share;
                let coverage = (lower * (256 - lower_share) + upper * lower_share) >> 16;
                if coverage > 0 {
                    *cell = mix(*cell, value, weight(coverage, opacity));
                }
            }
        }
    }
}

/// Coverage (0 to 255) times opacity (0 to 256), as 256ths.
fn weight(coverage: u32, opacity: u32) -> u32 {
    ((coverage + (coverage >> 7)) * opacity) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_keep_to_the_limited_range() {
        assert_eq!(Yuv::from_rgb([1.0; 3]), Yuv::WHITE);
        assert_eq!(Yuv::from_rgb([0.0; 3]), Yuv { y: 16, u: 128, v: 128 });
        // ITU-R BT.709: pure red is 63, 102, 240.
        assert_eq!(Yuv::from_rgb([1.0, 0.0, 0.0]), Yuv { y: 63, u: 102, v: 240 });
    }

    #[test]
    fn a_mask_falls_where_it_was_drawn_and_where_it_is_shifted_to() {
        let mut sheet = Sheet::new(32, 32);
        sheet.rectangle(9, 11, 4, 4);
        let mask = Mask::cut_from(&sheet).unwrap();
        let lit = |shift| {
            let mut canvas = Canvas::new(32, 32);
            canvas.lay(&mask, Yuv::WHITE, 256, shift);
            let lit: Vec<_> = (0..32 * 32).filter(|&index| canvas.y[index] == 235).collect();
            (lit.first().copied(), lit.len())
        };
        assert_eq!(lit(Shift::default()), (Some(11 * 32 + 9), 16));
        assert_eq!(lit(Shift { x: 3 * 256, y: -256 }), (Some(10 * 32 + 12), 16));
        // Half a pixel to the right: three columns stay full, the edges are half lit.
        assert_eq!(lit(Shift { x: 128, y: 0 }), (Some(11 * 32 + 10), 12));
    }

    #[test]
    fn shapes_outside_are_cut_off() {
        let mut sheet = Sheet::new(16, 16);
        sheet.rectangle(0, 0, 16, 16);
        let mask = Mask::cut_from(&sheet).unwrap();
        let mut canvas = Canvas::new(16, 16);
        for shift in [-5000, -300, 77, 300, 5000] {
            canvas.lay(&mask, Yuv::WHITE, 200, Shift { x: shift, y: shift });
            canvas.lay(&mask, Yuv::WHITE, 200, Shift { x: -shift, y: shift });
        }
        canvas.fill((14, 14), (50, 50), Yuv::WHITE, 256);
        assert!(Mask::cut_from(&Sheet::new(4, 4)).is_none());
    }
}

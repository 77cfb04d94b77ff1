//! The ground of a card: two lights on a dark wall, drifting slowly.
//!
//! The light is computed once on a coarse grid and enlarged for every picture, at fractions of
//! a pixel, so that even a very slow move is smooth.

use super::canvas::{Canvas, mix, planes_of_rgb};
use super::palette::Palette;

/// Pixels of the canvas for each cell of the grid.
const CELL: usize = 8;
/// How far the grid reaches over the canvas on each side, as a share of its size: the room
/// for the move.
const OVERHANG: f32 = 0.08;
/// An eight by eight threshold pattern (Bayer): spreads the rounding of a slow gradient over
/// neighbours, so that no bands are seen.
const THRESHOLDS: [[u16; 8]; 8] = [
    [0, 128, 32, 160, 8, 136, 40, 168],
    [192, 64, 224, 96, 200, 72, 232, 104],
    [48, 176, 16, 144, 56, 184, 24, 152],
    [240, 112, 208, 80, 248, 120, 216, 88],
    [12, 140, 44, 172, 4, 132, 36, 164],
    [204, 76, 236, 108, 196, 68, 228, 100],
    [60, 188, 28, 156, 52, 180, 20, 148],
    [252, 124, 220, 92, 244, 116, 212, 84],
];

/// A ground, ready to be painted.
#[derive(Debug, Clone)]
pub(super) struct Background {
    columns: usize,
    rows: usize,
    /// Luma and both chroma planes, in 256ths.
    planes: [Vec<u16>; 3],
    /// Where the view stands at the beginning and at the end of the card, in shares of the
    /// overhang from -1 to 1, and how much of the overhang is closed in on.
    from: View,
    to: View,
}

#[derive(Debug, Clone, Copy)]
struct View {
    x: f32,
    y: f32,
    zoom: f32,
}

/// The moves, in turn: a push in, a pan right, a pull out, a rise.
const MOVES: [(View, View); 4] = [
    (View { x: 0.0, y: 0.3, zoom: 0.0 }, View { x: 0.0, y: -0.3, zoom: 1.0 }),
    (View { x: -1.0, y: 0.0, zoom: 0.3 }, View { x: 1.0, y: 0.2, zoom: 0.3 }),
    (View { x: 0.3, y: -0.2, zoom: 1.0 }, View { x: -0.3, y: 0.2, zoom: 0.0 }),
    (View { x: 0.4, y: 1.0, zoom: 0.3 }, View { x: -0.4, y: -1.0, zoom: 0.3 }),
];

impl Background {
    /// The ground of the shot with that number.
    #[expect(clippy::cast_precision_loss, reason = "grids are small")]
    pub(super) fn new(width: usize, height: usize, palette: &Palette, number: u32) -> Self {
        let overhung = |side: usize| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a few hundred cells"
            )]
            let cells = (side as f32 * (1.0 + 2.0 * OVERHANG) / CELL as f32).ceil() as usize;
            cells + 2
        };
        let (columns, rows) = (overhung(width), overhung(height));
        let turn = (number.wrapping_sub(1) % 4) as usize;
        // The main light comes from another corner in each shot.
        let (light_x, light_y) = [(0.12, 0.16), (0.88, 0.24), (0.80, 0.78), (0.16, 0.70)][turn];
        let (shade_x, shade_y) = [(0.92, 0.72), (0.08, 0.86), (0.18, 0.12), (0.92, 0.10)][turn];
        let aspect = width as f32 / height as f32;
        let reach = |x: f32, y: f32, center_x: f32, center_y: f32, radius: f32| {
            // Measured in heights or widths, whichever is longer, so that lights are round.
            let (across, down) = if aspect > 1.0 { (1.0, 1.0 / aspect) } else { (aspect, 1.0) };
            let distance = ((x - center_x) * across).hypot((y - center_y) * down) / radius;
            (-distance * distance).exp()
        };
        let mut planes = [const { Vec::new() }; 3];
        for row in 0..rows {
            for column in 0..columns {
                let (x, y) = (column as f32 / columns as f32, row as f32 / rows as f32);
                let light = reach(x, y, light_x, light_y, 0.52);
                let shade = reach(x, y, shade_x, shade_y, 0.45) * 0.85;
                let vignette = 1.0 - 0.35 * (x - 0.5).hypot(y - 0.5).powi(2) * 2.0;
                let mut color = [0.0; 3];
                for (part, color) in color.iter_mut().enumerate() {
                    let ground = palette.ground[part];
                    *color = (ground
                        + (palette.light[part] - ground) * light
                        + (palette.shade[part] - ground).max(0.0) * shade * (1.0 - light))
                        * vignette;
                }
                for (plane, value) in planes.iter_mut().zip(planes_of_rgb(color)) {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "16 to 240, times 256"
                    )]
                    plane.push((value * 256.0).clamp(0.0, 65_000.0) as u16);
                }
            }
        }
        let (from, to) = MOVES[turn];
        Self { columns, rows, planes, from, to }
    }

    /// Paints the whole canvas as it is at `moment`, from 0 at the card's beginning to 1 at
    /// its end (and a little over, while the next card is faded in).
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "coordinates inside a small grid"
    )]
    pub(super) fn paint(&self, canvas: &mut Canvas, moment: f32) {
        let between = |from: f32, to: f32| from + (to - from) * moment;
        let view = View {
            x: between(self.from.x, self.to.x),
            y: between(self.from.y, self.to.y),
            zoom: between(self.from.zoom, self.to.zoom),
        };
        // The view covers the canvas and, zoomed out, half of the overhang besides.
        let spread = 1.0 + OVERHANG * (1.0 - view.zoom);
        let axis = |side: usize, cells: usize, pan: f32, divisor: usize| {
            let room = (cells as f32 - 2.0) * CELL as f32 - side as f32 * spread;
            let start = room / 2.0 * (1.0 + pan.clamp(-1.0, 1.0)) / CELL as f32;
            let step = spread * divisor as f32 / CELL as f32;
            (0..side / divisor)
                .map(|index| {
                    let position = ((start + index as f32 * step) * 256.0).max(0.0) as u32;
                    let cell = (position >> 8) as usize;
                    (cell.min(cells - 2), position & 255)
                })
                .collect::<Vec<_>>()
        };
        for (index, plane) in [&mut canvas.y, &mut canvas.u, &mut canvas.v].into_iter().enumerate()
        {
            let divisor = if index == 0 { 1 } else { 2 };
            let across = axis(canvas.width, self.columns, view.x, divisor);
            let down = axis(canvas.height, self.rows, view.y, divisor);
            let grid = &self.planes[index];
            let mut blended = vec![0_u32; self.columns];
            let lines = plane.chunks_exact_mut(canvas.width / divisor);
            for ((line, (cell, share)), number) in lines.zip(down).zip(0_usize..) {
                let upper = &grid[cell * self.columns..][..self.columns];
                let lower = &grid[(cell + 1) * self.columns..][..self.columns];
                for ((blended, &upper), &lower) in blended.iter_mut().zip(upper).zip(lower) {
                    *blended = (u32::from(upper) * (256 - share) + u32::from(lower) * share) >> 8;
                }
                let thresholds = &THRESHOLDS[number % 8];
                for ((pixel, &(cell, share)), column) in line.iter_mut().zip(&across).zip(0_usize..)
                {
                    let value = (blended[cell] * (256 - share) + blended[cell + 1] * share) >> 8;
                    *pixel = ((value + u32::from(thresholds[column % 8])) >> 8) as u8;
                }
            }
        }
    }
}

/// Fades from one canvas to another: `weight` 256ths of `over`.
pub(super) fn dissolve(under: &mut Canvas, over: &Canvas, weight: u32) {
    let planes = [(&mut under.y, &over.y), (&mut under.u, &over.u), (&mut under.v, &over.v)];
    for (under, over) in planes {
        for (under, &over) in under.iter_mut().zip(over) {
            *under = mix(*under, over, weight);
        }
    }
}

//! The cards: what stands where, and when it comes and goes.

use std::collections::BTreeSet;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::background::{Background, dissolve};
use super::canvas::{Canvas, Mask, Sheet, Shift, Yuv};
use super::lettering::{Block, CAPITALS, DESCENT, Room, Style, Typeface, Weight};
use super::palette::Palette;
use super::{AnimaticError, PICTURES_PER_SECOND};
use crate::studio::storyboard::{Shot, Storyboard};

/// How long one card's ground dissolves into the next, in pictures.
const DISSOLVE_PICTURES: u64 = 9;
/// How long a text takes to come in, in seconds.
const ENTRANCE_SECONDS: f32 = 0.55;
/// How long the texts take to go, in seconds.
const EXIT_SECONDS: f32 = 0.2;

/// A storyboard laid out on the film's clock.
pub(super) struct FilmOfCards {
    pub(super) width: usize,
    pub(super) height: usize,
    title: String,
    cards: Vec<Card>,
    face: Typeface,
    unknown: BTreeSet<char>,
}

/// One shot, with its texts as the face can show them.
struct Card {
    shot: Shot,
    palette: Palette,
    /// Pictures before this card.
    first_picture: u64,
    /// Pictures of this card.
    pictures: u64,
}

/// A card with its ground painted and its texts set, ready to be shown at any moment.
pub(super) struct Prepared {
    number: usize,
    ground: Background,
    previous_ground: Option<(Background, u64)>,
    layers: Vec<Layer>,
}

/// Something laid over the ground.
struct Layer {
    mask: Mask,
    color: Yuv,
    /// 0 to 1.
    opacity: f32,
    motion: Motion,
}

#[derive(Clone, Copy)]
enum Motion {
    /// Comes in after so many seconds, rising by so many pixels.
    Enter { after: f32, rise: f32 },
    /// Is there from the beginning and drifts sideways by so many pixels in all.
    Drift { pixels: f32 },
    /// Stands still.
    Still,
}

impl FilmOfCards {
    pub(super) fn new(
        storyboard: &Storyboard,
        width: u32,
        height: u32,
    ) -> Result<Self, AnimaticError> {
        let face = Typeface::load()?;
        let mut unknown = BTreeSet::new();
        let mut seconds = Decimal::ZERO;
        let mut first_picture = 0;
        let mut cards = Vec::with_capacity(storyboard.shots.len());
        for shot in &storyboard.shots {
            // Rounded on the film's clock, so that rounding never adds up.
            seconds += shot.duration_seconds;
            let end = (seconds * Decimal::from(PICTURES_PER_SECOND)).round().to_u64();
            let end = end.ok_or(AnimaticError::Empty)?.max(first_picture + 1);
            let mut shown = |text: &str| face.showable(text, &mut unknown);
            let shot = Shot {
                on_screen_text: shown(&shot.on_screen_text),
                image_prompt: shown(&shot.image_prompt),
                motion_prompt: shown(&shot.motion_prompt),
                ..shot.clone()
            };
            let palette = Palette::of(&storyboard.title, &shot);
            cards.push(Card { shot, palette, first_picture, pictures: end - first_picture });
            first_picture = end;
        }
        if cards.is_empty() {
            return Err(AnimaticError::Empty);
        }
        let title = face.showable(&storyboard.title, &mut unknown);
        let (width, height) = (width as usize, height as usize);
        Ok(Self { width, height, title, cards, face, unknown })
    }

    /// Pictures in all.
    pub(super) fn pictures(&self) -> u64 {
        self.cards.last().map_or(0, |card| card.first_picture + card.pictures)
    }

    /// How many pictures each card has, in order.
    pub(super) fn pictures_of_cards(&self) -> impl Iterator<Item = u64> {
        self.cards.iter().map(|card| card.pictures)
    }

    pub(super) fn unknown_characters(&self) -> Vec<char> {
        self.unknown.iter().copied().collect()
    }

    /// Does everything for a card that is the same in each of its pictures.
    pub(super) fn prepare(&self, number: usize) -> Option<Prepared> {
        let card = self.cards.get(number)?;
        let ground =
            |card: &Card| Background::new(self.width, self.height, &card.palette, card.shot.number);
        let previous = number.checked_sub(1).and_then(|number| self.cards.get(number));
        Some(Prepared {
            number,
            ground: ground(card),
            previous_ground: previous.map(|card| (ground(card), card.pictures)),
            layers: Layout::new(self, card).layers(number == 0),
        })
    }

    /// Paints one picture of a card. `spare` is scratch space of the same size.
    pub(super) fn paint(
        &self,
        prepared: &Prepared,
        picture: u64,
        canvas: &mut Canvas,
        spare: &mut Canvas,
    ) {
        let Some(card) = self.cards.get(prepared.number) else { return };
        let moment = |picture: u64, pictures: u64| ratio(picture, pictures.max(1));
        prepared.ground.paint(canvas, moment(picture, card.pictures));
        // Half of the card is the most that the last one's ground may linger in.
        let dissolve_pictures = DISSOLVE_PICTURES.min(card.pictures / 2);
        if let Some((previous, pictures)) = &prepared.previous_ground
            && picture < dissolve_pictures
        {
            previous.paint(spare, moment(pictures + picture, *pictures).min(1.2));
            let share = ratio(picture + 1, dissolve_pictures + 1);
            dissolve(canvas, spare, opacity(1.0 - ease(share)));
        }
        let seconds = ratio(picture, u64::from(PICTURES_PER_SECOND));
        let left = ratio(card.pictures - picture, u64::from(PICTURES_PER_SECOND));
        let is_first = prepared.number == 0;
        let is_last = prepared.number + 1 == self.cards.len();
        for layer in &prepared.layers {
            let exit = if is_last { 1.0 } else { (left / EXIT_SECONDS).min(1.0) };
            let (visible, shift) = match layer.motion {
                Motion::Still => (1.0, Shift::default()),
                Motion::Drift { pixels } => {
                    let x = pixels * (moment(picture, card.pictures) - 0.5);
                    (exit, Shift { x: subpixel(x), y: 0 })
                }
                // The first picture stands for the whole film in a file manager.
                Motion::Enter { .. } if is_first => (exit, Shift::default()),
                Motion::Enter { after, rise } => {
                    let come = ease(((seconds - after) / ENTRANCE_SECONDS).clamp(0.0, 1.0));
                    (come.min(exit), Shift { x: 0, y: subpixel(rise * (1.0 - come)) })
                }
            };
            canvas.lay(&layer.mask, layer.color, opacity(layer.opacity * visible), shift);
        }
        self.paint_progress(card, card.first_picture + picture, canvas);
    }

    /// The line at the bottom that tells how far the film is, with a notch at every cut.
    fn paint_progress(&self, card: &Card, picture: u64, canvas: &mut Canvas) {
        let measure = Measure::new(self.width, self.height);
        let (x, y) = (pixels(measure.side), pixels(measure.progress));
        let length = self.width - 2 * x;
        let thick = pixels(4.0 * measure.unit).max(2);
        canvas.fill((x, y), (length, thick), Yuv::WHITE, 50);
        let all = self.pictures().max(1);
        #[expect(clippy::cast_precision_loss, reason = "a line of some hundred pixels")]
        let along = |picture: u64| pixels(length as f32 * ratio(picture, all));
        canvas.fill((x, y), (along(picture + 1), thick), card.palette.accent, 256);
        for card in &self.cards[1..] {
            let notch = x + along(card.first_picture);
            canvas.fill((notch - notch % 2, y), (2, thick), Yuv { y: 24, u: 128, v: 128 }, 190);
        }
    }
}

/// The measures that all cards of a film share, in pixels.
#[derive(Debug, Clone, Copy)]
struct Measure {
    /// A 720th of the short side: sizes are given in these.
    unit: f32,
    /// The safe margin at the sides.
    side: f32,
    /// Where the head begins.
    top: f32,
    /// Where the progress line lies.
    progress: f32,
}

impl Measure {
    #[expect(clippy::cast_precision_loss, reason = "pixels of a card")]
    fn new(width: usize, height: usize) -> Self {
        let (width, height) = (width as f32, height as f32);
        let unit = width.min(height) / 720.0;
        Self {
            unit,
            side: (width * 0.085).max(52.0 * unit),
            top: (height * 0.06).max(44.0 * unit),
            // Players and phones lay their controls over the lowest part.
            progress: height - (height * 0.075).max(48.0 * unit),
        }
    }
}

/// Sets the texts of one card.
struct Layout<'a> {
    film: &'a FilmOfCards,
    card: &'a Card,
    measure: Measure,
    width: f32,
    height: f32,
}

/// A rectangle in pixels.
#[derive(Debug, Clone, Copy)]
struct Frame {
    x: f32,
    y: f32,
    width: f32,
    height: f32,
}

impl<'a> Layout<'a> {
    #[expect(clippy::cast_precision_loss, reason = "pixels of a card")]
    fn new(film: &'a FilmOfCards, card: &'a Card) -> Self {
        Self {
            film,
            card,
            measure: Measure::new(film.width, film.height),
            width: film.width as f32,
            height: film.height as f32,
        }
    }

    fn layers(&self, is_first: bool) -> Vec<Layer> {
        let Measure { unit, side, top, progress } = self.measure;
        let inner = self.width - 2.0 * side;
        let head_end = top + 34.0 * unit;
        let foot_begin = progress - 44.0 * unit;
        let body = Frame {
            x: side,
            y: head_end + 22.0 * unit,
            width: inner,
            height: foot_begin - head_end - 44.0 * unit,
        };
        let (hero, detail) = if self.width > self.height * 1.15 {
            let column = inner * 0.54;
            let gap = inner * 0.07;
            (
                Frame { width: column, ..body },
                Frame { x: side + column + gap, width: inner - column - gap, ..body },
            )
        } else {
            let hero = body.height * if self.film.width == self.film.height { 0.56 } else { 0.60 };
            (
                Frame { height: hero, ..body },
                Frame { y: body.y + hero, height: body.height - hero, ..body },
            )
        };
        let mut layers = Vec::new();
        layers.extend(self.numeral());
        self.head(is_first, &mut layers);
        self.hero(hero, is_first, &mut layers);
        self.detail(detail, &mut layers);
        self.foot(&mut layers);
        layers
    }

    fn layer(
        &self,
        color: Yuv,
        opacity: f32,
        motion: Motion,
        draw: impl FnOnce(&mut Sheet),
    ) -> Option<Layer> {
        let mut sheet = Sheet::new(self.film.width, self.film.height);
        draw(&mut sheet);
        Mask::cut_from(&sheet).map(|mask| Layer { mask, color, opacity, motion })
    }

    fn accent(&self) -> Yuv {
        self.card.palette.accent
    }

    /// The shot's number, huge and faint, at the upper right.
    fn numeral(&self) -> Option<Layer> {
        let unit = self.measure.unit;
        let style =
            Style { weight: Weight::Bold, size: 500.0 * unit, leading: 1.0, tracking: -0.045 };
        let text = self.card.shot.number.to_string();
        let width = self.film.face.width(&text, style);
        let x = self.width - self.measure.side * 0.55 - width;
        let baseline = self.measure.top + 62.0 * unit + style.size * CAPITALS;
        self.layer(Yuv::WHITE, 0.11, Motion::Drift { pixels: -26.0 * unit }, |sheet| {
            self.film.face.draw(sheet, &text, style, (x, baseline));
        })
    }

    /// The film's title and the shot's number among all.
    fn head(&self, is_first: bool, layers: &mut Vec<Layer>) {
        let Measure { unit, side, top, .. } = self.measure;
        let face = &self.film.face;
        let style = Style { weight: Weight::Bold, size: 23.0 * unit, leading: 1.2, tracking: 0.02 };
        let baseline = top + 24.0 * unit;
        let count = format!("{:02} / {:02}", self.card.shot.number, self.film.cards.len());
        let count_width = face.width(&count, style);
        layers.extend(self.layer(self.accent(), 1.0, Motion::Still, |sheet| {
            face.draw(sheet, &count, style, (self.width - side - count_width, baseline));
        }));
        let room = self.width - 2.0 * side - count_width - 30.0 * unit;
        let left = if is_first { "Preview" } else { &self.film.title };
        let left = face.clipped(left, style, room);
        layers.extend(self.layer(Yuv::WHITE, 0.78, Motion::Still, |sheet| {
            face.draw(sheet, &left, style, (side, baseline));
        }));
        layers.extend(self.layer(Yuv::WHITE, 0.22, Motion::Still, |sheet| {
            let width = pixels(self.width - 2.0 * side);
            sheet.rectangle(
                pixels(side),
                pixels(top + 42.0 * unit),
                width,
                pixels(2.0 * unit).max(1),
            );
        }));
    }

    /// The words that will stand on the screen; on the first card the film's title above them.
    fn hero(&self, frame: Frame, is_first: bool, layers: &mut Vec<Layer>) {
        let unit = self.measure.unit;
        let face = &self.film.face;
        let words = self.card.shot.on_screen_text.trim();
        let title = self.film.title.trim();
        let bottom = frame.y + frame.height - 30.0 * unit;
        let has_title = is_first && !title.is_empty();
        let shows_words =
            !words.is_empty() && (!has_title || words.to_lowercase() != title.to_lowercase());
        let display = |size: f32| Style {
            weight: Weight::Bold,
            size: size * unit,
            leading: 1.08,
            tracking: -0.012,
        };
        let mut floor = bottom;
        if shows_words {
            let share = if has_title { 0.40 } else { 0.80 };
            let size = if has_title { 50.0 } else { 84.0 };
            let room =
                Room { width: frame.width, height: frame.height * share, smallest: 30.0 * unit };
            let block = face.fit(words, display(size), room);
            let y = floor - block.height() - block.style.size * DESCENT;
            let motion = Motion::Enter { after: 0.12, rise: 26.0 * unit };
            let color = if has_title { self.accent() } else { Yuv::WHITE };
            layers.extend(self.layer(color, 1.0, motion, |sheet| {
                face.draw_block(sheet, &block, (frame.x, y));
            }));
            floor = y - 34.0 * unit;
        }
        if has_title {
            let room = Room {
                width: frame.width,
                height: (floor - frame.y - 40.0 * unit).max(40.0 * unit),
                smallest: 34.0 * unit,
            };
            let block = face.fit(title, display(96.0), room);
            let y = floor - block.height();
            layers.extend(self.layer(Yuv::WHITE, 1.0, Motion::Still, |sheet| {
                face.draw_block(sheet, &block, (frame.x, y));
            }));
            floor = y - 34.0 * unit;
        }
        if shows_words || has_title {
            layers.extend(self.layer(
                self.accent(),
                1.0,
                Motion::Enter { after: 0.0, rise: 0.0 },
                |sheet| {
                    let (x, y) = (pixels(frame.x), pixels(floor));
                    sheet.rectangle(x, y, pixels(64.0 * unit), pixels(6.0 * unit));
                },
            ));
        }
    }

    /// What the picture shows and how it moves.
    fn detail(&self, frame: Frame, layers: &mut Vec<Layer>) {
        let unit = self.measure.unit;
        let shot = &self.card.shot;
        let is_column = self.width > self.height * 1.15;
        // In a column the details end level with the words beside them.
        let picture_share = if is_column { 0.60 } else { 0.62 };
        let label = 34.0 * unit;
        let (size, least) =
            if shot.on_screen_text.trim().is_empty() { (32.0, 21.0) } else { (27.0, 19.0) };
        let picture = self.detail_block(
            &shot.image_prompt,
            size,
            least,
            Room {
                width: frame.width,
                height: frame.height * picture_share - label,
                smallest: 0.0,
            },
        );
        let picture_height = picture.height() + label + 40.0 * unit;
        let motion = self.detail_block(
            &shot.motion_prompt,
            24.0,
            18.0,
            Room {
                width: frame.width,
                height: (frame.height - picture_height - label).max(0.0),
                smallest: 0.0,
            },
        );
        let motion_height = motion.height() + label;
        let mut y = if is_column {
            (frame.y + frame.height - 30.0 * unit - picture_height - motion_height).max(frame.y)
        } else {
            frame.y
        };
        for (name, block, opacity, after) in
            [("PICTURE", &picture, 0.92, 0.24), ("MOVE", &motion, 0.74, 0.34)]
        {
            if block.lines.is_empty() {
                continue;
            }
            let motion = Motion::Enter { after, rise: 18.0 * unit };
            let face = &self.film.face;
            let style =
                Style { weight: Weight::Bold, size: 17.0 * unit, leading: 1.0, tracking: 0.14 };
            layers.extend(self.layer(self.accent(), 1.0, motion, |sheet| {
                face.draw(sheet, name, style, (frame.x, y + style.size * CAPITALS));
            }));
            layers.extend(self.layer(Yuv::WHITE, opacity, motion, |sheet| {
                face.draw_block(sheet, block, (frame.x, y + label));
            }));
            y += label + block.height() + 40.0 * unit;
        }
    }

    fn detail_block(&self, text: &str, size: f32, least: f32, room: Room) -> Block {
        let unit = self.measure.unit;
        let style =
            Style { weight: Weight::Regular, size: size * unit, leading: 1.36, tracking: 0.0 };
        if room.height < least * unit * CAPITALS {
            return Block { lines: Vec::new(), style };
        }
        self.film.face.fit(text, style, Room { smallest: least * unit, ..room })
    }

    /// How long the shot lasts, and where in the film it stands.
    fn foot(&self, layers: &mut Vec<Layer>) {
        let Measure { unit, side, progress, .. } = self.measure;
        let face = &self.film.face;
        let style = Style { weight: Weight::Bold, size: 23.0 * unit, leading: 1.0, tracking: 0.02 };
        let baseline = progress - 18.0 * unit;
        let length = format!("{} s", self.card.shot.duration_seconds.normalize());
        layers.extend(self.layer(self.accent(), 1.0, Motion::Still, |sheet| {
            face.draw(sheet, &length, style, (side, baseline));
        }));
        let clock = format!(
            "{} – {}",
            clock(self.card.first_picture),
            clock(self.card.first_picture + self.card.pictures)
        );
        let width = face.width(&clock, style);
        layers.extend(self.layer(Yuv::WHITE, 0.7, Motion::Still, |sheet| {
            face.draw(sheet, &clock, style, (self.width - side - width, baseline));
        }));
    }
}

/// Minutes, seconds and tenths.
fn clock(picture: u64) -> String {
    let tenths =
        (picture * 10 + u64::from(PICTURES_PER_SECOND) / 2) / u64::from(PICTURES_PER_SECOND);
    format!("{}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}

/// Fast at first, slow at the end.
fn ease(share: f32) -> f32 {
    1.0 - (1.0 - share).powi(3)
}

#[expect(clippy::cast_precision_loss, reason = "numbers of pictures are small")]
fn ratio(part: u64, whole: u64) -> f32 {
    part as f32 / whole as f32
}

/// 0 to 1 as 256ths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 to 256")]
fn opacity(share: f32) -> u32 {
    (share.clamp(0.0, 1.0) * 256.0).round() as u32
}

#[expect(clippy::cast_possible_truncation, reason = "shifts of some pixels")]
fn subpixel(pixels: f32) -> i32 {
    (pixels * 256.0).round() as i32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels of a card")]
fn pixels(length: f32) -> usize {
    length.max(0.0).round() as usize
}

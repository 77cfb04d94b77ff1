//! A world, a machine and a database of one test that makes films.

#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(clippy::unwrap_used, reason = "test support")]

use std::path::PathBuf;

use rust_decimal::Decimal;
use sqlx::{Connection as _, PgConnection};

use crate::database::{TestDatabase, say};
use crate::support::environment::{colour_at, probe};
use crate::support::{Finished, TestEnvironment, World, media};

/// Whether films can be made here: none is begun without ffmpeg.
pub(crate) fn has_ffmpeg() -> bool {
    let found = std::process::Command::new("ffmpeg").arg("-version").output().is_ok();
    if !found {
        assert!(
            std::env::var("AIDA_TEST_REQUIRE_ALL").as_deref() != Ok("1"),
            "ffmpeg is missing, and AIDA_TEST_REQUIRE_ALL forbids to skip"
        );
        say("SKIPPED: films need ffmpeg, which is not on the PATH");
    }
    found
}

/// A world, a machine and a database of one test.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) machine: TestEnvironment,
    pub(crate) database: TestDatabase,
}

impl Stage {
    /// Services that live a hundred times faster than in life: a film takes a few seconds. None
    /// where there is no ffmpeg.
    pub(crate) async fn build() -> Option<Self> {
        if has_ffmpeg() { Some(Self::on(100.0, TestDatabase::fresh().await)) } else { None }
    }

    /// Services that live at a speed, and a database.
    pub(crate) fn on(speed: f64, database: TestDatabase) -> Self {
        let world = World::start(speed);
        let machine = TestEnvironment::in_world(&world);
        let machine = match database.url() {
            Some(url) => machine.with_database(&url),
            None => machine,
        };
        Self { world, machine, database }
    }

    /// The settled charges in aida's own books and the ceilings of the unknown ones, in USD;
    /// nothing where the database is embedded and belongs to the binary.
    pub(crate) async fn books(&self) -> Option<(Decimal, Decimal)> {
        let mut connection = PgConnection::connect(&self.database.url()?).await.unwrap();
        let sums = sqlx::query_as(
            "SELECT coalesce(sum(settled_usd), 0),
                    coalesce(sum(reserved_usd) FILTER (WHERE state = 'unknown'), 0) FROM charges",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        Some(sums)
    }

    /// Fails unless the books hold exactly the bill.
    pub(crate) async fn assert_books_match_bill(&self) {
        if let Some(books) = self.books().await {
            assert_eq!(books, (self.world.bill().total(), Decimal::ZERO), "{}", self.world.bill());
        }
    }

    /// Fails unless every shot was bought once: one picture, one clip, one keyframe of its own.
    pub(crate) fn assert_bought_once(&self, shots: usize) {
        assert_eq!(self.world.kie().orders().len(), shots, "pictures");
        let clips = self.world.fal().orders();
        assert_eq!(clips.len(), shots, "clips");
        let mut keyframes: Vec<&str> = clips.iter().map(|clip| clip.image_url.as_str()).collect();
        keyframes.sort_unstable();
        keyframes.dedup();
        assert_eq!(
            keyframes.len(),
            shots,
            "every clip has a keyframe that was uploaded for it alone"
        );
    }

    /// Fails unless the film shows `shots` in this order, each in the colour of its picture.
    pub(crate) fn assert_shows(&self, film: &Finished, shots: &[usize]) {
        let path = PathBuf::from(film.stdout.trim_end());
        assert!(path.is_file(), "standard output is the film's path: {:?}", film.stdout);
        let Some((seconds, width, height)) = probe(&path) else { return };
        let asked = 5.0 * f64::from(u32::try_from(shots.len()).unwrap());
        assert!((seconds - asked).abs() <= 0.5, "{seconds} s instead of {asked} s");
        let shape = f64::from(width) / f64::from(height);
        assert!((shape / (9.0 / 16.0) - 1.0).abs() < 0.01, "{width}x{height}");
        // The scripted Director names the shot's number in each prompt.
        let orders = self.world.kie().orders();
        for (place, shot) in (0_u32..).zip(shots) {
            let start = format!("Shot {shot} of");
            let order = orders.iter().find(|order| order.prompt.starts_with(&start)).unwrap();
            let seen = colour_at(&path, f64::from(place) * 5.0 + 2.5).unwrap();
            assert!(media::is_near(seen, order.colour), "shot {shot} is not at place {place}");
        }
    }
}

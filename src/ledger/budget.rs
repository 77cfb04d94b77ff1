//! Caps: how much may be spent, on what, and in which days or months. Pure; the till checks them.

use std::fmt;
use std::str::FromStr;

use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;

use crate::clock::Zone;
use crate::ids::BudgetId;
use crate::ledger::money::Usd;

/// A limit on some spend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Its id.
    pub id: BudgetId,
    /// Which spend.
    pub scope: Scope,
    /// What the scope names, as the database keys it; empty for [`Scope::Everything`].
    pub subject: String,
    /// The same for people: a campaign's name, the short id of a run.
    pub name: String,
    /// How often it begins anew.
    pub period: Period,
    /// Where days and months begin.
    pub zone: Zone,
    /// The limit, USD.
    pub cap: Usd,
}

/// Which spend a cap limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One run's, all of it.
    Run,
    /// One run's language work.
    RunLanguage,
    /// That of all runs of one batch.
    Batch,
    /// Everybody's in this database.
    Everything,
    /// One user's.
    User,
    /// That of the videos of one campaign.
    Campaign,
    /// That at one provider.
    Provider,
}

/// How often a cap begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// Never.
    Total,
    /// With every month.
    Month,
    /// With every day.
    Day,
}

/// What of a cap is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Known cost, USD.
    pub settled: Usd,
    /// Ceilings of the calls whose outcome is unknown, USD.
    pub unknown: Usd,
    /// Ceilings of the language and embedding calls under way, USD: most cost less in the end.
    pub promised_words: Usd,
    /// Prices of the images and clips under way, USD: they cost that, or nothing.
    pub promised_media: Usd,
}

/// What a cap says to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It fits.
    Enough,
    /// It fits if the calls under way cost less than they may.
    Perhaps,
    /// It does not fit.
    TooLittle,
}

impl Taken {
    /// Everything that counts against the cap, USD.
    pub fn all(self) -> Usd {
        self.settled + self.unknown + self.promised_words + self.promised_media
    }

    /// Whether a call that may cost `ceiling` fits under `cap`.
    pub fn room(self, cap: Usd, ceiling: Usd) -> Room {
        if self.all() + ceiling <= cap {
            Room::Enough
        } else if self.settled + self.unknown + self.promised_media + ceiling <= cap {
            Room::Perhaps
        } else {
            Room::TooLittle
        }
    }
}

impl Budget {
    /// When the period that `now` lies in began; none for one that never begins anew.
    ///
    /// There is no end: if a clock was set back, what was spent "later" counts all the same.
    pub fn began(&self, now: Timestamp) -> Option<Timestamp> {
        let today = self.zone.at(now).date();
        let first = match self.period {
            Period::Total => return None,
            Period::Month => today.first_of_month(),
            Period::Day => today,
        };
        self.zone.start_of(first).ok()
    }

    /// When the next period begins.
    pub fn ends(&self, now: Timestamp) -> Option<Timestamp> {
        let today = self.zone.at(now).date();
        let next = match self.period {
            Period::Total => return None,
            Period::Month => today.first_of_month().checked_add(1.month()).ok()?,
            Period::Day => today.tomorrow().ok()?,
        };
        self.zone.start_of(next).ok()
    }

    /// What it limits, in words: `today's spend (UTC)`, `campaign Spring`, `this run`.
    pub fn what(&self) -> String {
        let zone = self.zone.name();
        let when = match self.period {
            Period::Total => String::new(),
            Period::Month => format!(" this month ({zone})"),
            Period::Day => format!(" today ({zone})"),
        };
        match self.scope {
            Scope::Run => "this run".to_owned(),
            Scope::RunLanguage => "the language work of this run".to_owned(),
            Scope::Batch => format!("batch {}", self.name),
            Scope::Everything => format!("all spend{when}"),
            Scope::User => format!("user {}{when}", self.name),
            Scope::Campaign => format!("campaign {}{when}", self.name),
            Scope::Provider => format!("provider {}{when}", self.name),
        }
    }

    /// The command that changes it, with `USD` for the new amount.
    pub fn command(&self) -> String {
        let name = if self.name.contains(|letter: char| !letter.is_alphanumeric() && letter != '-')
        {
            format!("'{}'", self.name.replace('\'', r"'\''"))
        } else {
            self.name.clone()
        };
        match self.scope {
            Scope::Run => format!("aida budget set run {name} USD"),
            Scope::RunLanguage => format!("aida budget set language {name} USD"),
            Scope::Batch => format!("aida budget set batch {name} USD"),
            Scope::Everything => format!("aida budget set {} USD", self.period),
            Scope::User | Scope::Campaign | Scope::Provider => {
                format!("aida budget set {} {name} USD --per {}", self.scope, self.period)
            }
        }
    }
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 7] = [
        Self::Run,
        Self::RunLanguage,
        Self::Batch,
        Self::Everything,
        Self::User,
        Self::Campaign,
        Self::Provider,
    ];

    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::RunLanguage => "run_language",
            Self::Batch => "batch",
            Self::Everything => "everything",
            Self::User => "user",
            Self::Campaign => "campaign",
            Self::Provider => "provider",
        }
    }
}

impl Period {
    /// The name in the database and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Month => "month",
            Self::Day => "day",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| format!("'{text}' is not a scope of a budget"))
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Total, Self::Month, Self::Day]
            .into_iter()
            .find(|period| period.as_str() == text)
            .ok_or_else(|| format!("'{text}' is not a period of a budget"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rust_decimal::Decimal;
    use rust_decimal_macros::dec;

    fn budget(scope: Scope, name: &str, period: Period, zone: &str) -> Budget {
        Budget {
            id: BudgetId::new(),
            scope,
            subject: name.to_owned(),
            name: name.to_owned(),
            period,
            zone: Zone::named(zone).unwrap(),
            cap: Usd::new(dec!(5)),
        }
    }

    #[test]
    fn periods_begin_and_end_in_their_zone() {
        let now = "2026-12-31T23:30:00Z".parse().unwrap();
        let span = |period, zone| {
            let budget = budget(Scope::Everything, "", period, zone);
            let text = |moment: Option<Timestamp>| moment.unwrap().to_string();
            (text(budget.began(now)), text(budget.ends(now)))
        };
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(span(Period::Day, "UTC"), pair("2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"));
        assert_eq!(
            span(Period::Month, "Europe/Berlin"),
            pair("2026-12-31T23:00:00Z", "2027-01-31T23:00:00Z")
        );
        assert_eq!(budget(Scope::Everything, "", Period::Total, "UTC").began(now), None);
    }

    #[test]
    fn a_cap_names_itself_and_the_command_that_raises_it() {
        let campaign = budget(Scope::Campaign, "Ada's spring", Period::Month, "UTC");
        assert_eq!(campaign.what(), "campaign Ada's spring this month (UTC)");
        assert_eq!(
            campaign.command(),
            r"aida budget set campaign 'Ada'\''s spring' USD --per month"
        );
        let day = budget(Scope::Everything, "", Period::Day, "Europe/Berlin");
        assert_eq!(day.what(), "all spend today (Europe/Berlin)");
        assert_eq!(day.command(), "aida budget set day USD");
    }

    proptest! {
        #[test]
        fn what_fits_never_passes_the_cap(
            amounts in prop::array::uniform5(0_i64..1_000),
            cap in 0_i64..4_000,
        ) {
            let [settled, unknown, promised_words, promised_media, ceiling] =
                amounts.map(|cents| Usd::new(Decimal::new(cents, 2)));
            let taken = Taken { settled, unknown, promised_words, promised_media };
            let cap = Usd::new(Decimal::new(cap, 2));
            match taken.room(cap, ceiling) {
                Room::Enough => prop_assert!(taken.all() + ceiling <= cap),
                Room::Perhaps => {
                    prop_assert!(taken.all() + ceiling > cap);
                    prop_assert!(taken.all() - promised_words + ceiling <= cap);
                }
                Room::TooLittle => prop_assert!(taken.all() - promised_words + ceiling > cap),
            }
        }
    }
}

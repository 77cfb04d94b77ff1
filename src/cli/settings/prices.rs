//! `[[price]]`: entries of the price book that a user writes, or that `aida prices refresh` wrote.
//! They are read as strictly as the settings: a slip in the price of a thing must not pass.

use std::path::Path;

use jiff::civil::Date;
use rust_decimal::Decimal;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::{Document, kind_of};
use crate::error::Error;
use crate::ledger::prices::{Origin, Price, Rates, TokenBand, TokenRates};

/// The fields of an entry.
pub(super) const FIELDS: [&str; 8] =
    ["provider", "model", "from", "source", "tokens", "embedding", "image", "video"];
/// The fields of `tokens`, USD per million.
const CLASSES: [&str; 5] = ["input", "output", "cache_write_5m", "cache_write_1h", "cache_read"];
/// The providers, and what each sells: aida buys nothing else there.
const SOLD: [(&str, &str); 6] = [
    ("anthropic", "tokens"),
    ("openai", "embedding"),
    ("voyage", "embedding"),
    ("compatible", "embedding"),
    ("kie", "image"),
    ("fal", "video"),
];

/// The block of `config.example.toml`. A space after the `#` tells its lines from the settings'.
pub(super) const EXAMPLE: &str = r#"
# ----------------------------------------------------------------------
# Prices of your own, USD without tax, over those that aida ships with; `aida prices` lists what is in
# force. An entry counts from its day until a later one of the same model. Any number of blocks; they
# stand at the end of the file. Each has one of: tokens (per million: input, output, cache_write_5m,
# cache_write_1h, cache_read, and above = { input_tokens = ..., ... } for long prompts), embedding
# (per million tokens), image (per job), video (per second: silent, and audio where it has sound).
#
# [[price]]
# provider = "kie"
# model = "nano-banana-2"
# from = "2026-12-01"
# source = "my contract"
# image = "0.035"
#
# [[price]]
# provider = "fal"
# model = "kling-2.6-pro"
# from = "2026-12-01"
# video = { silent = "0.06", audio = "0.12" }
#
# [[price]]
# provider = "compatible"
# model = "nomic-embed-text"
# from = "2026-12-01"
# source = "runs on this machine"
# embedding = "0"
"#;

/// Reads a file that holds prices and nothing else; no entries where there is no such file.
pub fn read(path: &Path, origin: Origin) -> Result<Vec<Price>, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Error::settings(format!(
                "the prices in {} cannot be read",
                path.display()
            ))
            .because(error)
            .hint("mend or remove the file; `aida prices refresh --write` writes a new one"));
        }
    };
    let document = Document::new(path, &text);
    let table = DeTable::parse(&text).map_err(|error| {
        document
            .unreadable()
            .place(error.span().unwrap_or(0..0))
            .error(&format!("the file of prices cannot be read: {}", error.message()))
            .hint("mend or remove the file; `aida prices refresh --write` writes a new one")
    })?;
    let mut prices = Vec::new();
    for (name, value) in table.get_ref() {
        if name.get_ref() != "price" {
            let error = document.place(name.span());
            return Err(error.error(&format!("'{}' is no entry of prices", name.get_ref())));
        }
        prices.extend(entries(&document, value, origin)?);
    }
    Ok(prices)
}

/// Reads the entries of an array of tables.
pub(super) fn entries(
    document: &Document<'_>,
    value: &Spanned<DeValue<'_>>,
    origin: Origin,
) -> Result<Vec<Price>, Error> {
    let wrong = || {
        document
            .place(value.span())
            .error("'price' must be an array of tables")
            .hint("write [[price]] with two brackets, and its fields below")
    };
    let DeValue::Array(items) = value.get_ref() else { return Err(wrong()) };
    let mut prices: Vec<Price> = Vec::new();
    for item in items {
        let DeValue::Table(table) = item.get_ref() else { return Err(wrong()) };
        let entry = Entry { document, table, place: item };
        let price = entry.read(origin)?;
        let is_same = |other: &Price| {
            (&other.provider, &other.model, other.from)
                == (&price.provider, &price.model, price.from)
        };
        if prices.iter().any(is_same) {
            let (provider, model, from) = (&price.provider, &price.model, price.from);
            return Err(entry.error(&format!("{provider} {model} has two prices from {from} on")));
        }
        prices.push(price);
    }
    Ok(prices)
}

/// One table of fields.
#[derive(Clone, Copy)]
struct Entry<'a> {
    document: &'a Document<'a>,
    table: &'a DeTable<'a>,
    place: &'a Spanned<DeValue<'a>>,
}

impl<'a> Entry<'a> {
    fn read(self, origin: Origin) -> Result<Price, Error> {
        self.knows_only(&FIELDS)?;
        let provider = self.text("provider")?.unwrap_or_default();
        let Some((_, sold)) = SOLD.into_iter().find(|(name, _)| *name == provider) else {
            let names = SOLD.map(|(name, _)| name);
            let error = match self.get("provider") {
                Some(value) => self.error_at(value, &format!("'{provider}' is no provider")),
                None => self.error("'provider' is missing"),
            };
            return Err(match nearest(&provider, &names) {
                Some(name) => error.hint(format!("did you mean '{name}'?")),
                None => error.hint(format!("it is one of: {}", names.join(", "))),
            });
        };
        let model = self.text("model")?.ok_or_else(|| self.error("'model' is missing"))?;
        let rates = self.rates(&provider, sold)?;
        let source = self.text("source")?.unwrap_or_else(|| "config.toml".to_owned());
        Ok(Price { provider, model, from: self.day()?, source, origin, rates })
    }

    fn rates(self, provider: &str, sold: &'static str) -> Result<Rates, Error> {
        let others: Vec<_> = FIELDS[4..].iter().filter(|name| **name != sold).collect();
        if let Some(value) = others.iter().find_map(|name| self.get(name)) {
            let problem = format!("what {provider} sells is priced by '{sold}'");
            return Err(self.error_at(value, &problem));
        }
        Ok(match sold {
            "tokens" => Rates::Tokens(self.inner(sold)?.token_rates(true)?),
            "embedding" => Rates::Embedding(self.amount(sold)?),
            "image" => Rates::Image(self.amount(sold)?),
            _ => {
                let video = self.inner(sold)?;
                video.knows_only(&["silent", "audio"])?;
                let audio = video.get("audio").map(|_| video.amount("audio")).transpose()?;
                Rates::Video { silent: video.amount("silent")?, audio }
            }
        })
    }

    fn token_rates(self, may_have_band: bool) -> Result<TokenRates, Error> {
        let extra = if may_have_band { "above" } else { "input_tokens" };
        let known: Vec<_> = CLASSES.into_iter().chain([extra]).collect();
        self.knows_only(&known)?;
        let above = match self.get("above") {
            Some(_) => {
                let band = self.inner("above")?;
                let limit = band.amount("input_tokens")?;
                let input_tokens = u64::try_from(limit)
                    .ok()
                    .filter(|tokens| Decimal::from(*tokens) == limit)
                    .ok_or_else(|| band.error("'input_tokens' must be a whole number"))?;
                Some(Box::new(TokenBand { input_tokens, rates: band.token_rates(false)? }))
            }
            None => None,
        };
        Ok(TokenRates {
            input: self.amount("input")?,
            output: self.amount("output")?,
            cache_write_5m: self.amount("cache_write_5m")?,
            cache_write_1h: self.amount("cache_write_1h")?,
            cache_read: self.amount("cache_read")?,
            above,
        })
    }

    fn knows_only(self, known: &[&str]) -> Result<(), Error> {
        for name in self.table.keys() {
            if !known.contains(&name.get_ref().as_ref()) {
                let place = self.document.place(name.span());
                let error = place.error(&format!("a price has no field '{}'", name.get_ref()));
                return Err(match nearest(name.get_ref(), known) {
                    Some(near) => error.hint(format!("did you mean '{near}'?")),
                    None => error.hint(format!("its fields are: {}", known.join(", "))),
                });
            }
        }
        Ok(())
    }

    fn get(self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
    }

    fn text(self, name: &str) -> Result<Option<String>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.get_ref() {
            DeValue::String(text)
                if !text.trim().is_empty()
                    && text.chars().count() <= 200
                    && !text.chars().any(char::is_control) =>
            {
                Ok(Some(text.trim().to_owned()))
            }
            DeValue::String(_) => {
                Err(self.error_at(value, &format!("'{name}' is not one line of text")))
            }
            other => {
                let problem = format!("'{name}' must be text in quotes, not {}", kind_of(other));
                Err(self.error_at(value, &problem))
            }
        }
    }

    fn day(self) -> Result<Date, Error> {
        let value = self.get("from").ok_or_else(|| self.error("'from' is missing"))?;
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(date) => date.to_string(),
            _ => String::new(),
        };
        text.parse().map_err(|_| {
            self.error_at(value, "'from' is no day")
                .hint("a day is written \"2026-12-01\"; it is the first day of the price")
        })
    }

    /// An amount of dollars, or a number of tokens: exact, never negative.
    fn amount(self, name: &str) -> Result<Decimal, Error> {
        let value = self.get(name).ok_or_else(|| self.error(&format!("'{name}' is missing")))?;
        let text = match value.get_ref() {
            DeValue::String(text) => text.trim(),
            DeValue::Integer(number) => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => "",
        };
        Decimal::from_str_exact(text).ok().filter(|amount| !amount.is_sign_negative()).ok_or_else(
            || self.error_at(value, &format!("'{name}' is no number from 0 up, such as \"0.04\"")),
        )
    }

    /// The table of a field.
    fn inner(self, name: &str) -> Result<Self, Error> {
        let place = self.get(name).ok_or_else(|| self.error(&format!("'{name}' is missing")))?;
        match place.get_ref() {
            DeValue::Table(table) => Ok(Self { table, place, ..self }),
            other => {
                let problem = format!("'{name}' must be a table, not {}", kind_of(other));
                Err(self.error_at(place, &problem))
            }
        }
    }

    fn error(self, problem: &str) -> Error {
        self.error_at(self.place, problem)
    }

    fn error_at(self, value: &Spanned<DeValue<'_>>, problem: &str) -> Error {
        self.document.place(value.span()).error(problem)
    }
}

fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(unknown, name), *name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;

    use super::*;

    fn parse(text: &str) -> Result<Vec<Price>, Error> {
        let table = DeTable::parse(text).unwrap();
        let document = Document::new(Path::new("config.toml"), text);
        entries(&document, &table.get_ref()["price"], Origin::Config)
    }

    fn wrong(text: &str) -> String {
        let error = parse(text).unwrap_err();
        assert_eq!(error.kind().exit_code(), 8);
        format!("{error}\n{}", error.hints().join("\n"))
    }

    const HEAD: &str = "[[price]]\nprovider = \"kie\"\nmodel = \"m\"\nfrom = \"2026-12-01\"\n";

    #[test]
    fn every_kind_of_price_is_read() {
        let prices = parse(
            "[[price]]\nprovider = \"kie\"\nmodel = \"nano-banana-2\"\nfrom = 2026-12-01\nimage = 0.0350\n\
             [[price]]\nprovider = \"fal\"\nmodel = \"kling-2.6-pro\"\nfrom = \"2026-12-01\"\nsource = \"x\"\n\
             video = { silent = \"0.06\" }\n\
             [[price]]\nprovider = \"openai\"\nmodel = \"e\"\nfrom = \"2026-12-01\"\nembedding = 0\n\
             [[price]]\nprovider = \"anthropic\"\nmodel = \"c\"\nfrom = \"2026-12-01\"\n[price.tokens]\ninput = 1\n\
             output = 2\ncache_write_5m = 3\ncache_write_1h = 4\ncache_read = \"0.1\"\n[price.tokens.above]\n\
             input_tokens = 100000\ninput = 2\noutput = 4\ncache_write_5m = 6\ncache_write_1h = 8\ncache_read = 1\n",
        )
        .unwrap();
        assert_eq!(prices[0].rates, Rates::Image(dec!(0.0350)));
        assert_eq!(prices[0].source, "config.toml");
        assert_eq!(prices[1].rates, Rates::Video { silent: dec!(0.06), audio: None });
        assert_eq!(prices[1].source, "x");
        let Rates::Tokens(tokens) = &prices[3].rates else { panic!("{:?}", prices[3]) };
        assert_eq!(tokens.above.as_ref().unwrap().input_tokens, 100_000);
        assert_eq!(tokens.above.as_ref().unwrap().rates.cache_read, dec!(1));
    }

    #[test]
    fn a_slip_is_pointed_at() {
        insta::assert_snapshot!(wrong(&format!("{HEAD}imgae = \"0.04\"")), @r#"
        a price has no field 'imgae'
         --> config.toml:5
          |
        5 | imgae = …
          | ^^^^^
        did you mean 'image'?
        "#);
        insta::assert_snapshot!(wrong(&format!("{HEAD}image = \"-0.04\"")), @r#"
        'image' is no number from 0 up, such as "0.04"
         --> config.toml:5
          |
        5 | image = "-0.04"
          |         ^^^^^^^
        "#);
        insta::assert_snapshot!(wrong("[[price]]\nprovider = \"kye\"\n"), @r#"
        'kye' is no provider
         --> config.toml:2
          |
        2 | provider = "kye"
          |            ^^^^^
        it is one of: anthropic, openai, voyage, compatible, kie, fal
        "#);
    }

    #[test]
    fn what_is_missing_doubled_or_of_another_kind_is_refused() {
        assert!(wrong("[price]\nmodel = \"m\"").contains("two brackets"));
        assert!(wrong(HEAD).contains("'image' is missing"));
        assert!(wrong(&format!("{HEAD}video = {{ silent = 1 }}")).contains("priced by 'image'"));
        assert!(wrong(&format!("{HEAD}image = 1\n{HEAD}image = 2")).contains("two prices"));
        let clip =
            "[[price]]\nprovider = \"fal\"\nmodel = \"m\"\nfrom = \"soon\"\nvideo = { silent = 1 }";
        assert!(wrong(clip).contains("no day"));
        let clip = "[[price]]\nprovider = \"fal\"\nmodel = \"m\"\nfrom = \"2026-12-01\"\nvideo = { audio = 1 }";
        assert!(wrong(clip).contains("'silent' is missing"));
    }

    #[test]
    fn the_example_holds_once_its_marks_are_gone() {
        let block = EXAMPLE.split_once("#\n").unwrap().1;
        let text: String =
            block.lines().map(|line| line.trim_start_matches('#').to_owned() + "\n").collect();
        assert_eq!(parse(&text).unwrap().len(), 3);
    }
}

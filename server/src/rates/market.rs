//! Rates of the market: each exchange is asked by a loop of its own, its quotes are kept in memory,
//! and a rate is what they agree on at the moment it is asked for. Not here: the loops' start (`app`).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;

use super::client::{ClientError, Limits, PriceClient};
use super::exchanges::{self, Question};
use super::{NoRate, QuoteState, Rate, RateSource, SourceError, SourceState, par};
use crate::domain::amount::decimal;
use crate::domain::asset::Asset;
use crate::domain::price::RATE_DECIMALS;
use crate::domain::quotes::{Agreed, Exchange, NoAgreement, Quote, Rules, agree};
use crate::domain::time::Micros;
use crate::env::Env;

/// Whom to ask for what, and what to believe.
#[derive(Debug, Clone)]
pub struct MarketSettings {
    /// The exchanges, each with its base URL without a slash at the end.
    pub exchanges: BTreeMap<Exchange, String>,
    /// The coins that need a rate.
    pub coins: Vec<Asset>,
    /// What makes quotes a rate.
    pub rules: Rules,
    /// Whether plain HTTP is refused.
    pub https_only: bool,
    /// What one request may take.
    pub limits: Limits,
}

/// The market's rates. Ages are measured by the system's clock: a clock that the sandbox moves
/// forward by hours makes no price old.
pub struct MarketRates {
    settings: MarketSettings,
    client: PriceClient,
    env: Env,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    quotes: BTreeMap<(Asset, Exchange), Quote>,
    /// What went wrong when an exchange was asked last, and when.
    errors: BTreeMap<Exchange, (String, Micros)>,
    coins: BTreeMap<Asset, Standing>,
}

/// How a coin stands.
#[derive(Default)]
struct Standing {
    /// Whether there was one at the last poll; what is logged is a change of it.
    has_rate: bool,
    /// When there was a rate last.
    agreed_at: Option<Micros>,
}

impl MarketRates {
    /// A source that knows nothing until its exchanges are asked.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn new(settings: MarketSettings, env: Env) -> Result<Self, ClientError> {
        let client = PriceClient::new(settings.https_only, settings.limits.clone())?;
        Ok(Self { settings, client, env, state: Mutex::default() })
    }

    /// Whom to ask.
    pub fn exchanges(&self) -> impl Iterator<Item = Exchange> {
        self.settings.exchanges.keys().copied()
    }

    /// Asks one exchange once and notes what it said. What it did not say stays as it was, and grows
    /// old.
    pub async fn poll(&self, exchange: Exchange) {
        let Some(base) = self.settings.exchanges.get(&exchange) else { return };
        let questions = exchanges::questions(exchange, &self.settings.coins);
        let asked = questions.iter().map(|question| self.ask(exchange, base, question));
        let problems: Vec<String> = join_all(asked).await.into_iter().flatten().collect();
        self.note_outcome(exchange, &problems.join("; "));
    }

    /// One request; returns what was wrong with it.
    async fn ask(&self, exchange: Exchange, base: &str, question: &Question) -> Vec<String> {
        // The moment before the request: a quote is never taken for younger than it is.
        let asked_at = self.env.system_now();
        let body = match self.client.get(&format!("{base}{}", question.path)).await {
            Ok(body) => body,
            Err(error) => return vec![error.to_string()],
        };
        let mut problems = Vec::new();
        let mut state = self.state();
        for (asset, price) in exchanges::read(exchange, question, &body) {
            match price {
                Ok(price) => {
                    let at = price.traded_at.map_or(asked_at, |traded_at| traded_at.min(asked_at));
                    let quote = Quote { exchange, units: price.units, at };
                    state.quotes.insert((asset, exchange), quote);
                }
                Err(error) => problems.push(format!("{asset}: {error}")),
            }
        }
        problems
    }

    /// Keeps and logs how asking an exchange went, and which coins got or lost their rate. Only
    /// changes are logged: an outage is two lines, not one a poll.
    fn note_outcome(&self, exchange: Exchange, problem: &str) {
        let mut state = self.state();
        let was_wrong = state.errors.contains_key(&exchange);
        if problem.is_empty() {
            state.errors.remove(&exchange);
            if was_wrong {
                tracing::info!(%exchange, "price source is back");
            }
        } else {
            state.errors.insert(exchange, (problem.to_owned(), self.env.system_now()));
            if !was_wrong {
                tracing::warn!(%exchange, problem, "price source fails");
            }
        }
        for asset in &self.settings.coins {
            let agreed = self.agreed(&mut state, *asset);
            let standing = state.coins.entry(*asset).or_default();
            let had_rate = std::mem::replace(&mut standing.has_rate, agreed.is_ok());
            match agreed {
                Ok(agreed) if !had_rate => {
                    let usd = decimal(agreed.units, RATE_DECIMALS);
                    tracing::info!(%asset, usd, source = source(&agreed), "there is a rate");
                }
                Err(why) if had_rate => tracing::warn!(%asset, %why, "there is no rate any more"),
                _ => {}
            }
        }
    }

    /// What each source said last.
    pub fn sources(&self) -> Vec<SourceState> {
        let state = self.state();
        let now = self.env.system_now();
        let of = |(exchange, url): (&Exchange, &String)| {
            let quotes = state.quotes.iter().filter(|((_, of), _)| of == exchange);
            SourceState {
                exchange: *exchange,
                url: url.clone(),
                quotes: quotes
                    .map(|((asset, _), quote)| QuoteState {
                        asset: *asset,
                        usd: decimal(quote.units, RATE_DECIMALS),
                        age: now.since(quote.at),
                    })
                    .collect(),
                last_error: state
                    .errors
                    .get(exchange)
                    .map(|(text, at)| SourceError { text: text.clone(), age: now.since(*at) }),
            }
        };
        self.settings.exchanges.iter().map(of).collect()
    }

    /// What the quotes in memory agree on now.
    fn agreed(&self, state: &mut State, asset: Asset) -> Result<Agreed, NoAgreement> {
        let of = state.quotes.iter().filter(|((of, _), _)| *of == asset);
        let quotes: Vec<Quote> = of.map(|(_, quote)| *quote).collect();
        let now = self.env.system_now();
        let agreed = agree(&quotes, now, &self.settings.rules)?;
        state.coins.entry(asset).or_default().agreed_at = Some(now);
        Ok(agreed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A moment of the system's clock in business time, in which invoices are dated.
    fn business(&self, at: Micros) -> Micros {
        Micros(at.0.saturating_add(self.env.business_offset()))
    }
}

impl RateSource for MarketRates {
    fn rate(&self, asset: Asset) -> Result<Rate, NoRate> {
        if asset.is_dollar() {
            return Ok(par(self.env.now()));
        }
        let mut state = self.state();
        match self.agreed(&mut state, asset) {
            Ok(agreed) => Ok(Rate {
                usd: decimal(agreed.units, RATE_DECIMALS),
                source: source(&agreed),
                at: self.business(agreed.at),
            }),
            Err(why) => {
                let since = state.coins.get(&asset).and_then(|standing| standing.agreed_at);
                let since = since.map(|at| self.business(at));
                Err(NoRate { asset, since, why: why.to_string() })
            }
        }
    }
}

/// `median(kraken,coinbase,binance)`.
fn source(agreed: &Agreed) -> String {
    let names: Vec<&str> = agreed.exchanges.iter().map(|exchange| exchange.as_str()).collect();
    format!("median({})", names.join(","))
}

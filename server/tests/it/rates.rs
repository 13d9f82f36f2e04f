//! Invoices priced by the market: three exchanges on loopback that are right, wrong, slow, silent or
//! mad, one after the other, and what a merchant sees of it.

use std::time::Duration;

use cryptopayment::domain::asset::Asset;
use cryptopayment::domain::quotes::{Exchange, Rules};
use cryptopayment::rates::RateSource as _;
use cryptopayment::rates::client::Limits;
use cryptopayment::rates::market::{MarketRates, MarketSettings};
use cryptopayment_sdk::v1;
use cryptopayment_sdk::v1::invoice_service_client::InvoiceServiceClient;
use futures_util::future::join_all;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::support::clock::MovedClock;
use crate::support::exchanges::{Act, Exchanges};
use crate::support::rest::{Answer, Rest};
use crate::support::server::{TestServer, install_tls};

use Exchange::{Binance, Coinbase, Kraken};

/// The coins that need a price.
const PRICED: [Asset; 3] = [Asset::Btc, Asset::Ltc, Asset::Eth];
/// More than the default of `rates.market.stale_seconds_max`.
const STALE_SECONDS: i64 = 300;
/// As many addresses as in other tests, leased a few at a time.
const POOL: &str = "[pool]\naddresses_low = 20\naddresses_batch = 40\naddresses_leased = 5\n";
/// `rate_source` when all three agree, as it stands in JSON.
const ALL: &str = "\"median(kraken,coinbase,binance)\"";
/// What is set to run the test against the real exchanges.
const LIVE: &str = "TEST_LIVE_RATES";

/// A server that asks the exchanges.
struct Shop {
    server: TestServer,
    rest: Rest,
    exchanges: Exchanges,
    clock: MovedClock,
}

impl Shop {
    /// A shop whose exchanges are all out of order.
    async fn start() -> Self {
        let clock = MovedClock::new();
        let exchanges = Exchanges::start(&clock).await;
        // Each leap of the clock ends the leases of addresses: a few at a time, so that the pool lasts.
        let settings = format!("{}{POOL}", exchanges.settings());
        let server = TestServer::with_clock(crate::ENGINE, &settings, Some(clock.clone())).await;
        Self { rest: Rest::of(&server), server, exchanges, clock }
    }

    /// Tells all three what bitcoin costs.
    fn agree(&self) {
        self.exchanges.act(Kraken, Act::Price(r#""60000.00""#));
        self.exchanges.act(Coinbase, Act::Price(r#""60090.00""#));
        self.exchanges.act(Binance, Act::Price(r#""60120.00""#));
    }

    /// Makes every quote in memory too old and waits until the exchanges were asked again.
    async fn ask_anew(&self, answering: &[Exchange]) {
        self.clock.advance(STALE_SECONDS);
        join_all(answering.iter().map(|exchange| self.exchanges.wait_asked(*exchange, 2))).await;
    }

    async fn create(&self, network: &str) -> Answer {
        let body = format!(r#"{{"network":"{network}","amount_usd":50}}"#);
        self.rest.post("/api/v1/invoices", &body).await
    }

    /// Asks for bitcoin under a request id.
    async fn keyed(&self, request_id: &str, usd: u32) -> Answer {
        let body = format!(r#"{{"network":"btc","amount_usd":{usd},"request_id":"{request_id}"}}"#);
        self.rest.post("/api/v1/invoices", &body).await
    }

    /// The status of a call without the SDK, which would call again.
    async fn refused_over_grpc(&self, network: &str) -> Status {
        let mut request = Request::new(v1::CreateInvoiceRequest {
            network: network.to_owned(),
            amount_usd: "50".to_owned(),
            request_id: Some(format!("none of {network}")),
            ..Default::default()
        });
        let authorization = self.server.authorization().parse().unwrap();
        request.metadata_mut().insert("authorization", authorization);
        let channel = Channel::from_shared(self.server.url.clone()).unwrap();
        let mut client = InvoiceServiceClient::new(channel.connect().await.unwrap());
        client.create_invoice(request).await.unwrap_err()
    }

    /// The full view of a new invoice.
    async fn invoice(&self, network: &str) -> String {
        let created = self.create(network).await;
        assert_eq!(created.status, 200, "{}", created.body);
        let path = format!("/api/v1/invoices/{}?view=full", created.invoice_id());
        self.rest.get(&path).await.body
    }

    /// None of these coins is for sale, for this reason; dollars are, and what exists can be read.
    async fn has_none_of(&self, coins: &[Asset], reason: &str) {
        for coin in coins {
            let network = coin.as_str().to_lowercase();
            let reason = reason.replace("COIN", coin.as_str());
            let refused = self.create(&network).await;
            let found = (refused.status, refused.code());
            assert_eq!(found, (503, "RATE_UNAVAILABLE".to_owned()), "{}", refused.body);
            assert!(refused.body.contains(&reason), "{}: {reason}", refused.body);
            let status = self.refused_over_grpc(&network).await;
            let info = status.get_error_details().error_info().unwrap().clone();
            assert_eq!(
                (status.code(), info.reason.as_str()),
                (Code::Unavailable, "RATE_UNAVAILABLE")
            );
            assert!(status.message().contains(&reason), "{status:?}: {reason}");
        }
        let usdt = self.invoice("trc20").await;
        assert_eq!(rate(&usdt), ("1.00", "\"par\""));
        assert_eq!(self.rest.get("/api/v1/invoices").await.status, 200);
        assert_eq!(self.rest.get("/api/v1/balances").await.status, 200);
    }
}

/// The token behind the first key of this name, as it is written: money is compared as text.
fn token<'a>(body: &'a str, key: &str) -> &'a str {
    let (_, rest) = body.split_once(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{body}"));
    let end = match rest.strip_prefix('"') {
        Some(text) => text.find('"').map(|end| end + 2),
        None => rest.find([',', '}']),
    };
    &rest[..end.unwrap()]
}

/// Price and source of an invoice.
fn rate(invoice: &str) -> (&str, &str) {
    (token(invoice, "rate"), token(invoice, "rate_source"))
}

/// Seconds since 1970 of a time in an invoice.
fn seconds(invoice: &str, key: &str) -> i64 {
    let form = &time::format_description::well_known::Rfc3339;
    let text = token(invoice, key).trim_matches('"');
    time::OffsetDateTime::parse(text, form).unwrap().unix_timestamp()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coin_has_a_price_while_exchanges_agree_on_it() {
    let shop = Shop::start().await;
    let never = "there is no fresh rate of COIN since the server started: \
                 0 of the 2 quotes that are needed are fresh; try again later or ask for USDT";
    shop.has_none_of(&PRICED, never).await;

    shop.agree();
    shop.ask_anew(&Exchange::ALL).await;
    let invoice = shop.invoice("btc").await;
    assert_eq!(rate(&invoice), ("60090.00", ALL));
    // 50 / 60090, rounded up.
    assert_eq!(token(&invoice, "amount_crypto"), "0.00083209");
    assert_eq!(rate(&shop.invoice("ltc").await), ("80.04", ALL));
    assert_eq!(rate(&shop.invoice("eth").await), ("3001.30", ALL));

    // A business clock that is moved makes no price old, and dates it in its own time.
    shop.server.client().sandbox().advance_clock(5 * 3_600).await.unwrap();
    let later = shop.invoice("btc").await;
    assert_eq!(rate(&later), rate(&invoice));
    let age = seconds(&later, "created_at") - seconds(&later, "rate_at");
    assert!((0..60).contains(&age), "{later}");
    let moved = seconds(&later, "rate_at") - seconds(&invoice, "rate_at");
    assert!(moved >= 5 * 3_600 - 60, "{invoice} {later}");

    // The exchanges go away: their last prices count until they are too old.
    for exchange in Exchange::ALL {
        shop.exchanges.act(exchange, Act::Says(503, b"busy".to_vec()));
        shop.exchanges.wait_asked(exchange, 2).await;
    }
    assert_eq!(rate(&shop.invoice("btc").await), rate(&invoice));
    let first = shop.keyed("order-1", 50).await;
    assert_eq!(first.status, 200, "{}", first.body);
    shop.clock.advance(STALE_SECONDS);
    shop.has_none_of(&PRICED, "there is no fresh rate of COIN since 20").await;
    // A repeat needs no price: its invoice has one.
    assert_eq!(shop.keyed("order-1", 50).await.invoice_id(), first.invoice_id());
    assert_eq!(shop.keyed("order-1", 51).await.code(), "IDEMPOTENCY_CONFLICT");
    assert_eq!(shop.keyed("order-2", 50).await.code(), "RATE_UNAVAILABLE");

    shop.agree();
    shop.ask_anew(&Exchange::ALL).await;
    assert_eq!(rate(&shop.invoice("btc").await), rate(&invoice));
    shop.server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_exchange_changes_nothing_but_the_median() {
    let shop = Shop::start().await;
    shop.agree();
    let html = b"<!DOCTYPE html><html><body>Just a moment...</body></html>".to_vec();
    let cases = [
        ("down", Act::Says(503, Vec::new())),
        ("asks for less", Act::Says(429, b"{\"error\":\"slow down\"}".to_vec())),
        ("sends away", Act::Says(302, Vec::new())),
        ("lies by half, upwards", Act::Price(r#""90090.00""#)),
        ("lies by half, downwards", Act::Price(r#""30045.00""#)),
        ("stands still", Act::OldPrice(r#""60090.00""#)),
        ("garbage", Act::Says(200, vec![0xff, 0x00, 0xfe, b'{'])),
        ("nothing", Act::Says(200, Vec::new())),
        ("html", Act::Says(200, html)),
        ("beyond every number", Act::Price("1e400")),
        ("beyond every number, as text", Act::Price(r#""1e400""#)),
        ("negative", Act::Price(r#""-60090.00""#)),
        ("zero", Act::Price("0")),
        ("ten megabytes", Act::Says(200, vec![b' '; 10_000_000])),
        // Last: it is asked again only when it has answered or its time is over.
        ("hangs", Act::Hangs),
    ];
    let others = ("60060.00", "\"median(kraken,binance)\"");
    for (case, act) in cases {
        let hangs = matches!(act, Act::Hangs);
        shop.exchanges.act(Coinbase, act);
        let answering = if hangs { &[Kraken, Binance][..] } else { &Exchange::ALL };
        shop.ask_anew(answering).await;
        assert_eq!(rate(&shop.invoice("btc").await), others, "{case}");
    }

    shop.exchanges.act(Coinbase, Act::Price(r#""60090.00""#));
    shop.ask_anew(&Exchange::ALL).await;
    assert_eq!(rate(&shop.invoice("btc").await), ("60090.00", ALL));

    // Two are left and disagree: nobody can tell who is wrong, so nobody is believed.
    shop.exchanges.act(Kraken, Act::Says(503, Vec::new()));
    shop.exchanges.act(Binance, Act::Price(r#""57000.00""#));
    shop.ask_anew(&Exchange::ALL).await;
    let apart = "2 quotes are fresh, 0 of the 2 that are needed agree";
    shop.has_none_of(&[Asset::Btc], apart).await;
    let litecoin = shop.invoice("ltc").await;
    assert_eq!(rate(&litecoin), ("80.035", "\"median(coinbase,binance)\""));
    shop.server.finish().await;
}

/// The market alone, without a server.
fn market(exchanges: &Exchanges, clock: &MovedClock, limits: Limits) -> MarketRates {
    install_tls();
    let urls = Exchange::ALL.map(|exchange| (exchange, exchanges.url(exchange)));
    let settings = MarketSettings {
        exchanges: urls.into(),
        coins: PRICED.to_vec(),
        rules: Rules {
            stale_max: Duration::from_secs(120),
            outlier_percent_max: 3,
            agreeing_min: 2,
        },
        https_only: false,
        limits,
    };
    MarketRates::new(settings, clock.env()).unwrap()
}

#[tokio::test]
async fn each_source_tells_its_last_quotes_and_what_is_wrong() {
    let clock = MovedClock::new();
    let exchanges = Exchanges::start(&clock).await;
    exchanges.act(Kraken, Act::Price(r#""60000.00""#));
    exchanges.act(Coinbase, Act::Hangs);
    exchanges.act(Binance, Act::Price(r#""60100.00""#));
    // Short for the one that hangs, and long enough for those that answer, on a busy machine too.
    let limits = Limits { total_seconds_max: 5, ..Limits::default() };
    let market = market(&exchanges, &clock, limits);
    for exchange in Exchange::ALL {
        market.poll(exchange).await;
    }
    exchanges.act(Binance, Act::Price(r#""-1""#));
    clock.advance(60);
    market.poll(Binance).await;

    let states = market.sources();
    let [kraken, coinbase, binance] = states.as_slice() else { panic!("{states:?}") };
    assert_eq!((kraken.exchange, kraken.quotes.len(), &kraken.last_error), (Kraken, 3, &None));
    assert_eq!(kraken.url, exchanges.url(Kraken));
    assert!(coinbase.quotes.is_empty());
    let error = &coinbase.last_error.as_ref().unwrap();
    assert!(error.text.contains("did not answer within 5 seconds"), "{error:?}");
    assert!(error.age >= Duration::from_secs(60), "{error:?}");
    // The bad answer left the quote of before; the good prices beside it are new.
    let error = &binance.last_error.as_ref().unwrap().text;
    assert_eq!(error, "BTC: answered a price that is not a plain decimal number: -1");
    let btc = binance.quotes.iter().find(|quote| quote.asset == Asset::Btc).unwrap();
    assert_eq!(btc.usd, "60100.00");
    assert!(btc.age >= Duration::from_secs(60), "{btc:?}");
    assert_eq!(market.rate(Asset::Btc).unwrap().source, "median(kraken,binance)");

    // A clock that is set back leaves quotes of the future; they do not count.
    clock.advance(-3_600);
    assert!(market.rate(Asset::Btc).is_err());
    assert_eq!(market.rate(Asset::UsdtTrc20).unwrap().usd, "1.00");
}

/// The real exchanges still answer as they did, and agree.
#[tokio::test]
async fn the_real_exchanges_agree() {
    use std::io::Write as _;

    if std::env::var_os(LIVE).is_none() {
        // Past the test harness, which shows nothing that a passing test prints.
        let text = format!("the_real_exchanges_agree: RAN NOTHING, {LIVE} is not set\n");
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        return;
    }
    install_tls();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("live.toml");
    std::fs::write(&file, "[rates]\nsource = \"market\"\n").unwrap();
    let flags = cryptopayment::config::Flags::default();
    let config = cryptopayment::config::Config::load(Some(&file), &flags).unwrap();
    let market =
        cryptopayment::app::rates::market(&config, &cryptopayment::env::Env::system()).unwrap();
    for exchange in Exchange::ALL {
        market.poll(exchange).await;
    }
    for source in market.sources() {
        assert_eq!((source.quotes.len(), &source.last_error), (3, &None), "{source:?}");
    }
    for asset in PRICED {
        assert_eq!(market.rate(asset).unwrap().source, "median(kraken,coinbase,binance)");
    }
}

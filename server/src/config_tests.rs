//! The configuration as an operator meets it. figment's `Jail` gives each case an environment and a
//! directory of its own.

#![allow(clippy::unwrap_used, clippy::result_large_err)]

use figment::Jail;

use super::*;

fn load(file: Option<&str>) -> Result<Config, ConfigError> {
    Config::load(file.map(Path::new), &Flags::default())
}

#[test]
fn the_defaults_are_valid_and_a_sandbox() {
    Jail::expect_with(|_| {
        let config = load(None).unwrap();
        assert!(config.is_sandbox());
        assert_eq!(config.metrics.listen, None, "off until somebody says where");
        let names: Vec<_> = config.enabled().into_keys().collect();
        assert_eq!(names, Network::ALL);
        assert_eq!(config.networks["trc20"].confirmations, 19);
        for network in Network::ALL {
            let settings = &config.networks[network.as_str()];
            assert_eq!(settings.confirmations, network.default_confirmations(), "{network}");
        }
        Ok(())
    });
}

#[test]
fn each_layer_overrides_the_one_before() {
    Jail::expect_with(|jail| {
        jail.create_file("own.toml", "data_dir = \"one\"\n[http]\nlisten = \"127.0.0.1:1\"\n")?;
        let config = load(Some("own.toml")).unwrap();
        assert_eq!(config.http.listen.port(), 1);
        jail.set_env("CRYPTOPAYMENT_HTTP__LISTEN", "127.0.0.1:2");
        jail.set_env("CRYPTOPAYMENT_NETWORKS__LTC__CONFIRMATIONS", "3");
        let config = load(Some("own.toml")).unwrap();
        assert_eq!((config.http.listen.port(), config.networks["ltc"].confirmations), (2, 3));
        assert_eq!(config.data_dir, Path::new("one"));
        let flags = Flags { data_dir: Some("two".into()) };
        let config = Config::load(Some(Path::new("own.toml")), &flags).unwrap();
        assert_eq!(config.data_dir, Path::new("two"));
        Ok(())
    });
}

#[test]
fn the_public_url_follows_the_port_unless_it_is_set() {
    Jail::expect_with(|jail| {
        let public = || load(None).unwrap().http.public_url;
        assert_eq!(public(), "http://127.0.0.1:8080");
        for (listen, reached) in [
            ("127.0.0.1:9100", "http://127.0.0.1:9100"),
            ("192.0.2.1:80", "http://192.0.2.1:80"),
            ("0.0.0.0:9100", "http://127.0.0.1:9100"),
            ("[::]:9100", "http://[::1]:9100"),
        ] {
            jail.set_env("CRYPTOPAYMENT_HTTP__LISTEN", listen);
            assert_eq!(public(), reached, "{listen}");
        }
        jail.set_env("CRYPTOPAYMENT_HTTP__PUBLIC_URL", "https://pay.example/");
        assert_eq!(public(), "https://pay.example");
        Ok(())
    });
}

#[test]
fn every_wrong_value_is_named_by_its_key() {
    let cases = [
        ("CRYPTOPAYMENT_HTTP__LISTEN", "nowhere", "listen"),
        ("CRYPTOPAYMENT_METRICS__LISTEN", "everywhere", "metrics.listen"),
        ("CRYPTOPAYMENT_METRICS__LISTEN", "9464", "metrics.listen"),
        ("CRYPTOPAYMENT_METRICS__LISTEN", "127.0.0.1:8080", "metrics.listen: is http.listen"),
        ("CRYPTOPAYMENT_HTTP__LISTNE", "127.0.0.1:1", "listne"),
        ("CRYPTOPAYMENT_HTTP__PUBLIC_URL", "ftp://x", "http.public_url"),
        ("CRYPTOPAYMENT_HTTP__CORS_ORIGINS", "['*']", "http.cors_origins: `*`"),
        ("CRYPTOPAYMENT_HTTP__CORS_ORIGINS", "[\"https://shop.example/\"]", "http.cors_origins"),
        ("CRYPTOPAYMENT_HTTP__BODY_BYTES_MAX", "1", "http.body_bytes_max"),
        ("CRYPTOPAYMENT_HTTP__CORS_ORIGINS", "[\"*\"]", "http.cors_origins"),
        ("CRYPTOPAYMENT_HTTP__CORS_ORIGINS", "[\"https://shop.example/\"]", "http.cors_origins"),
        ("CRYPTOPAYMENT_HTTP__CORS_ORIGINS", "[\"shop.example\"]", "http.cors_origins"),
        ("CRYPTOPAYMENT_ENVIRONMENT", "staging", "environment"),
        ("CRYPTOPAYMENT_ENVIRONMENT", "live", "signer.passphrase_file"),
        ("CRYPTOPAYMENT_DATABASE__URL", "mysql://x", "database.url"),
        ("CRYPTOPAYMENT_LOG__FORMAT", "xml", "log.format"),
        ("CRYPTOPAYMENT_RATES__SOURCE", "guess", "rates.source"),
        ("CRYPTOPAYMENT_RATES__FIXED__BTC", "\"0\"", "rates.fixed.btc"),
        ("CRYPTOPAYMENT_RATES__FIXED__DOGE", "\"1\"", "doge"),
        ("CRYPTOPAYMENT_RATES__MARKET__SOURCES", "[]", "rates.market.sources"),
        ("CRYPTOPAYMENT_RATES__MARKET__SOURCES", "[kraken, kraken]", "rates.market.sources"),
        ("CRYPTOPAYMENT_RATES__MARKET__SOURCES", "[kraken]", "rates.market.agreeing_min"),
        ("CRYPTOPAYMENT_RATES__MARKET__SOURCES", "[mtgox]", "rates.market.sources"),
        ("CRYPTOPAYMENT_RATES__MARKET__POLL_SECONDS", "0", "rates.market.poll_seconds"),
        ("CRYPTOPAYMENT_RATES__MARKET__POLL_SECONDS", "61", "rates.market.stale_seconds_max"),
        ("CRYPTOPAYMENT_RATES__MARKET__STALE_SECONDS_MAX", "9999", "stale_seconds_max"),
        ("CRYPTOPAYMENT_RATES__MARKET__OUTLIER_PERCENT_MAX", "90", "outlier_percent_max"),
        ("CRYPTOPAYMENT_RATES__MARKET__AGREEING_MIN", "4", "rates.market.agreeing_min"),
        ("CRYPTOPAYMENT_RATES__MARKET__URLS__KRAKEN", "ftp://x", "rates.market.urls.kraken"),
        ("CRYPTOPAYMENT_RATES__MARKET__URLS__BINANCE", "https://u:p@x", "urls.binance"),
        (
            "CRYPTOPAYMENT_HTTP__FAILED_AUTHENTICATIONS_PER_MINUTE_MAX",
            "0",
            "http.failed_authentications_per_minute_max",
        ),
        ("CRYPTOPAYMENT_WEBHOOK__TIMEOUT_SECONDS", "90", "webhook.timeout_seconds"),
        ("CRYPTOPAYMENT_NETWORKS__LTC__CHAIN", "mainnet", "networks.ltc.chain"),
        ("CRYPTOPAYMENT_NETWORKS__LTC__SHORTFALL", "\"-1\"", "networks.ltc.shortfall"),
        ("CRYPTOPAYMENT_NETWORKS__LTC__CONFIRMATIONS", "0", "networks.ltc.confirmations"),
        (
            "CRYPTOPAYMENT_NETWORKS__LTC__BANDS",
            "[{from_usd=\"much\", confirmations=9}]",
            "networks.ltc.bands[0].from_usd",
        ),
        (
            "CRYPTOPAYMENT_NETWORKS__LTC__BANDS",
            "[{from_usd=\"1000\", confirmations=5}]",
            "networks.ltc.bands[0]: must not ask for less",
        ),
        (
            "CRYPTOPAYMENT_NETWORKS__BTC__REQUIRES_FINALITY",
            "true",
            "networks.btc.requires_finality",
        ),
        (
            "CRYPTOPAYMENT_NETWORKS__LTC__BANDS",
            "[{from_usd=\"1000\", confirmations=9, requires_finality=true}]",
            "networks.ltc.bands: nothing would ever be confirmed",
        ),
        (
            "CRYPTOPAYMENT_NETWORKS__LTC__FALLBACKS",
            "[{url=\"http://127.0.0.1:1\"}]",
            "networks.ltc.fallbacks: are for nodes",
        ),
        ("CRYPTOPAYMENT_NETWORKS__LTC__FALLBACKS", "[{uri=\"http://127.0.0.1:1\"}]", "uri"),
        ("CRYPTOPAYMENT_NETWORKS__DOGE__ENABLED", "true", "doge"),
        ("CRYPTOPAYMENT_NETWORKS__TRC20__BACKEND", "node", "networks.trc20.chain"),
    ];
    for (variable, value, key) in cases {
        Jail::expect_with(|jail| {
            jail.set_env(variable, value);
            let error = load(None).unwrap_err().to_string();
            assert!(error.to_lowercase().contains(key), "{variable}={value}: {error}");
            Ok(())
        });
    }
}

#[test]
fn bitcoin_and_litecoin_are_read_from_nodes() {
    Jail::expect_with(|jail| {
        let tables = ["btc", "ltc"].map(|network| {
            format!("[networks.{network}]\nbackend = \"node\"\nchain = \"regtest\"\n")
        });
        jail.create_file("own.toml", &tables.concat())?;
        let problems = load(Some("own.toml")).unwrap_err().to_string();
        for network in ["btc", "ltc"] {
            assert!(problems.contains(&format!("networks.{network}.node.url")), "{problems}");
            let key = format!("CRYPTOPAYMENT_NETWORKS__{}__NODE__", network.to_uppercase());
            jail.set_env(format!("{key}URL"), "http://127.0.0.1:1/");
        }
        let config = load(Some("own.toml")).unwrap();
        assert_eq!(config.networks["btc"].node.oldest_version, 0, "ours");
        jail.set_env("CRYPTOPAYMENT_NETWORKS__BTC__NODE__OLDEST_VERSION", "-1");
        let problem = load(Some("own.toml")).unwrap_err().to_string().to_lowercase();
        assert!(problem.contains("oldest_version"), "{problem}");
        jail.set_env("CRYPTOPAYMENT_NETWORKS__BTC__NODE__OLDEST_VERSION", "290000");
        let config = load(Some("own.toml")).unwrap();
        assert_eq!(config.networks["btc"].node.oldest_version, 290_000);
        Ok(())
    });
}

#[test]
fn the_oldest_version_is_one_that_the_chains_nodes_may_have() {
    let token = "TLJ1qn27gNgJjFHynPhXxiJLzLg6w7Emu5";
    let trc20 = format!("solidity_url = \"http://127.0.0.1:2/\", contract = \"{token}\"");
    let tables: String = [("btc", ""), ("ltc", ""), ("eth", ""), ("trc20", trc20.as_str())]
        .map(|(network, more)| {
            let url = "url = \"http://127.0.0.1:1/\"";
            format!(
                "[networks.{network}]\nbackend = \"node\"\nchain = \"regtest\"\n\
                 node = {{ {url}{}{more} }}\n",
                if more.is_empty() { "" } else { ", " }
            )
        })
        .concat();
    Jail::expect_with(|jail| {
        jail.create_file("own.toml", &tables)?;
        for (network, version, is_one) in [
            ("btc", "28", false),
            ("btc", "280000", true),
            ("ltc", "210506", true),
            ("trc20", "480", false),
            ("trc20", "40800", true),
            ("trc20", "4800000", false),
            ("eth", "101", true),
            ("eth", "11607", true),
            ("eth", "1000000", false),
            ("eth", "0", true),
        ] {
            let variable =
                format!("CRYPTOPAYMENT_NETWORKS__{}__NODE__OLDEST_VERSION", network.to_uppercase());
            jail.set_env(&variable, version);
            match load(Some("own.toml")) {
                Ok(_) => assert!(is_one, "{network} {version}"),
                Err(problems) => {
                    let key = format!("networks.{network}.node.oldest_version: must be a version");
                    let problems = problems.to_string();
                    assert!(!is_one && problems.contains(&key), "{problems}");
                }
            }
            jail.set_env(&variable, "0");
        }
        let fallback = "[{ url = \"http://127.0.0.1:3/\", oldest_version = 1000000 }]";
        jail.set_env("CRYPTOPAYMENT_NETWORKS__ETH__FALLBACKS", fallback);
        let problems = load(Some("own.toml")).unwrap_err().to_string();
        assert!(problems.contains("networks.eth.fallbacks[0].oldest_version"), "{problems}");
        Ok(())
    });
}

#[test]
fn all_problems_come_at_once_and_no_password_is_shown() {
    Jail::expect_with(|jail| {
        jail.set_env("CRYPTOPAYMENT_LOG__FORMAT", "xml");
        jail.set_env("CRYPTOPAYMENT_INVOICE__EXPIRES_MINUTES", "0");
        assert_eq!(load(None).unwrap_err().0.len(), 2);
        Ok(())
    });
    Jail::expect_with(|jail| {
        jail.set_env("CRYPTOPAYMENT_DATABASE__URL", "postgres://u:canary@h/d");
        assert!(!format!("{:?}", load(None).unwrap()).contains("canary"));
        Ok(())
    });
}

#[test]
fn live_takes_its_prices_from_the_market_over_https() {
    Jail::expect_with(|jail| {
        jail.set_env("CRYPTOPAYMENT_ENVIRONMENT", "live");
        let problems = load(None).unwrap_err().to_string();
        assert!(problems.contains("rates.source: live demands `market`"), "{problems}");

        jail.set_env("CRYPTOPAYMENT_RATES__SOURCE", "market");
        let problems = load(None).unwrap_err().to_string();
        assert!(!problems.contains("rates."), "{problems}");

        jail.set_env("CRYPTOPAYMENT_RATES__MARKET__URLS__KRAKEN", "http://api.kraken.com");
        jail.set_env("CRYPTOPAYMENT_RATES__MARKET__AGREEING_MIN", "1");
        let problems = load(None).unwrap_err().to_string();
        assert!(problems.contains("rates.market.urls.kraken"), "{problems}");
        assert!(problems.contains("rates.market.agreeing_min"), "{problems}");
        Ok(())
    });
}

#[test]
fn a_tron_node_needs_both_apis_and_its_token_on_test_chains() {
    const TOKEN: &str = "TLJ1qn27gNgJjFHynPhXxiJLzLg6w7Emu5";
    let load = |chain: &str, node: &str| {
        let mut said = String::new();
        Jail::expect_with(|jail| {
            let table = format!("[networks.trc20]\nbackend = \"node\"\nchain = \"{chain}\"");
            jail.create_file("own.toml", &format!("{table}\nnode = {{ {node} }}\n"))?;
            said = load(Some("own.toml")).err().map_or_else(String::new, |e| e.to_string());
            Ok(())
        });
        said
    };
    let urls = "url = \"http://a:1\", solidity_url = \"http://a:2\"";
    let good = format!("{urls}, contract = \"{TOKEN}\"");
    assert_eq!(load("regtest", &good), "");
    assert_eq!(load("testnet", &format!("{good}, requests_per_second = 1000")), "");
    let cases = [
        ("regtest", "", "node.url: is required"),
        ("regtest", "url = \"http://a:1\"", "node.solidity_url: is required"),
        ("regtest", urls, "node.contract: must be the token's"),
        ("testnet", &format!("{urls}, contract = \"0x00\""), "node.contract"),
        ("mainnet", &good, "node.contract: must be empty"),
        ("regtest", &format!("{good}, requests_per_second = 1001"), "node.requests_per_second"),
        ("regtest", &format!("{good}, user = \"a\""), "node.user"),
    ];
    for (chain, node, expected) in cases {
        let said = load(chain, node);
        // The sandbox takes no mainnet at all, which is said first.
        let expected = if chain == "mainnet" { "the sandbox takes test chains" } else { expected };
        assert!(said.contains(expected), "{chain} {node}: {said}");
    }
}

#[test]
fn an_evm_node_needs_its_token_and_nothing_of_another_chain() {
    let problems = |network: &str, chain: &str, node: &str| {
        let mut said = String::new();
        Jail::expect_with(|jail| {
            let text = format!(
                "[networks.{network}]\nbackend = \"node\"\nchain = \"{chain}\"\n\
                 node = {{ url = \"http://127.0.0.1:1/\", {node} }}\n"
            );
            jail.create_file("own.toml", &text)?;
            said = load(Some("own.toml")).map_or_else(|error| error.to_string(), |_| String::new());
            Ok(())
        });
        said
    };
    let token = "contract = \"0x5FbDB2315678afecb367f032d93F642f64180aa3\"";
    for (network, chain, node) in [
        ("eth", "regtest", "chain_id = 1"),
        ("eth", "testnet", "api_key_file = \"key\""),
        ("bep20", "testnet", token),
        ("bep20", "regtest", &format!("{token}, chain_id = 56")),
    ] {
        assert_eq!(problems(network, chain, node), "", "{network} {chain} {node}");
    }
    for (network, chain, node, key) in [
        ("bep20", "regtest", "chain_id = 56", "networks.bep20.node.contract"),
        ("bep20", "testnet", "contract = \"0x12\"", "networks.bep20.node.contract"),
        ("eth", "regtest", token, "networks.eth.node.contract"),
        ("eth", "testnet", "chain_id = 1", "networks.eth.node.chain_id"),
        ("eth", "regtest", "cookie_file = \".cookie\"", "networks.eth.node.cookie_file"),
        (
            "eth",
            "regtest",
            "user = \"u\", api_key_file = \"key\"",
            "networks.eth.node.api_key_file",
        ),
        ("eth", "regtest", "chain_id = -1", "chain_id"),
        ("ltc", "regtest", "chain_id = 1", "networks.ltc.node.chain_id"),
        ("eth", "sandbox", "chain_id = 1", "networks.eth.chain"),
    ] {
        let said = problems(network, chain, node);
        assert!(said.contains(key), "{network} {chain} {node}: {said}");
    }
}

#[test]
fn fallbacks_are_nodes_and_each_wrong_key_is_named() {
    let token = "0x55d398326f99059fF775485246999027B3197955";
    let table = |more: &str| {
        format!(
            "[networks.bep20]\nbackend = \"node\"\nchain = \"regtest\"\n\
             node = {{ url = \"http://a:1\", contract = \"{token}\", chain_id = 7, user = \"me\" }}\n\
             fallbacks = [{more}]\n"
        )
    };
    let cases = [
        ("{}", "networks.bep20.fallbacks[0].url: is required"),
        ("{ url = \"http://b:1\" }, { url = \"http://a:1\" }", "fallbacks[1].url: stands twice"),
        ("{ url = \"http://b:1\", contract = \"x\" }", "fallbacks[0].contract"),
        ("{ url = \"http://b:1\", cookie_file = \"x\" }", "fallbacks[0].cookie_file"),
        ("{}, {}, {}, {}, {}", "networks.bep20.fallbacks: are more than 4"),
    ];
    for (more, problem) in cases {
        Jail::expect_with(|jail| {
            jail.create_file("own.toml", &table(more))?;
            let error = load(Some("own.toml")).unwrap_err().to_string();
            assert!(error.contains(problem), "{more}: {error}");
            Ok(())
        });
    }
    Jail::expect_with(|jail| {
        jail.create_file("own.toml", &table("{ url = \"http://b:1\" }"))?;
        let config = load(Some("own.toml")).unwrap();
        let nodes = config.networks["bep20"].nodes();
        let [(first, node), (second, fallback)] = nodes.as_slice() else { panic!("{nodes:?}") };
        assert_eq!((first.as_str(), second.as_str()), ("node", "fallback 1"));
        assert_eq!(
            (node.node.url.as_str(), fallback.node.url.as_str()),
            ("http://a:1", "http://b:1")
        );
        assert_eq!((fallback.node.contract.as_str(), fallback.node.chain_id), (token, 7));
        assert_eq!(fallback.node.user, "", "who is asked there is the fallback's own");
        Ok(())
    });
}

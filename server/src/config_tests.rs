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
fn every_wrong_value_is_named_by_its_key() {
    let cases = [
        ("CRYPTOPAYMENT_HTTP__LISTEN", "nowhere", "listen"),
        ("CRYPTOPAYMENT_HTTP__LISTNE", "127.0.0.1:1", "listne"),
        ("CRYPTOPAYMENT_HTTP__PUBLIC_URL", "ftp://x", "http.public_url"),
        ("CRYPTOPAYMENT_HTTP__BODY_BYTES_MAX", "1", "http.body_bytes_max"),
        ("CRYPTOPAYMENT_HTTP__CORS_ORIGINS", "[\"*\"]", "http.cors_origins"),
        ("CRYPTOPAYMENT_HTTP__CORS_ORIGINS", "[\"https://shop.example/\"]", "http.cors_origins"),
        ("CRYPTOPAYMENT_HTTP__CORS_ORIGINS", "[\"shop.example\"]", "http.cors_origins"),
        ("CRYPTOPAYMENT_ENVIRONMENT", "staging", "environment"),
        ("CRYPTOPAYMENT_ENVIRONMENT", "live", "signer.passphrase_file"),
        ("CRYPTOPAYMENT_DATABASE__URL", "mysql://x", "database.url"),
        ("CRYPTOPAYMENT_LOG__FORMAT", "xml", "log.format"),
        ("CRYPTOPAYMENT_RATES__BTC", "\"0\"", "rates.btc"),
        ("CRYPTOPAYMENT_WEBHOOK__TIMEOUT_SECONDS", "90", "webhook.timeout_seconds"),
        ("CRYPTOPAYMENT_NETWORKS__LTC__CHAIN", "mainnet", "networks.ltc.chain"),
        ("CRYPTOPAYMENT_NETWORKS__LTC__SHORTFALL", "\"-1\"", "networks.ltc.shortfall"),
        ("CRYPTOPAYMENT_NETWORKS__LTC__CONFIRMATIONS", "0", "networks.ltc.confirmations"),
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

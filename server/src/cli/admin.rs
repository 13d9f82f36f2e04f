//! The operator's commands: a client of the admin socket that prints tables for people and JSON for
//! programs. Not here: any rule; the server decides.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use cryptopayment_proto::admin::v1;
use cryptopayment_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use cryptopayment_proto::admin::v1::merchant_service_client::MerchantServiceClient;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::{
    AdminArguments, AdminCommand, AppKeyCommand, KeyView, KeysCommand, Late, MerchantsCommand,
    WebhookCommand,
};

/// Runs one command.
pub async fn run(socket: &Path, arguments: AdminArguments) -> anyhow::Result<ExitCode> {
    let channel = connect(socket).await?;
    let result = match arguments.command {
        AdminCommand::Merchants(command) => merchants(channel, command).await,
        AdminCommand::Keys(command) => keys(channel, command).await,
        AdminCommand::Webhook(command) => webhook(channel, command).await,
        AdminCommand::AppKey(command) => app_key(channel, command).await,
    };
    match result {
        Ok(rows) if arguments.json => println!("{}", serde_json::to_string_pretty(&rows)?),
        Ok(rows) => print_table(&rows),
        Err(status) => {
            eprintln!("{}", status.message());
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn connect(socket: &Path) -> anyhow::Result<Channel> {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_: http::Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The address is never used: the connector always opens the socket.
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await.with_context(|| {
        format!("no server answers on {}; is it running with this data_dir?", socket.display())
    })
}

async fn merchants(channel: Channel, command: MerchantsCommand) -> Result<Vec<Value>, Status> {
    let mut client = MerchantServiceClient::new(channel);
    let found = match command {
        MerchantsCommand::Create { name } => {
            let request = v1::CreateMerchantRequest { name };
            client.create_merchant(request).await?.into_inner().merchant.into_iter().collect()
        }
        MerchantsCommand::Approve { id } => {
            let request = v1::ApproveMerchantRequest { id };
            client.approve_merchant(request).await?.into_inner().merchant.into_iter().collect()
        }
        MerchantsCommand::Set { id, late, shortfall_percent } => {
            let late = late.map(|late| match late {
                Late::Reject => v1::LatePolicy::Reject.into(),
                Late::Honor => v1::LatePolicy::Honor.into(),
            });
            let request = v1::UpdateMerchantRequest {
                id,
                late_policy: late,
                shortfall_basis_points: shortfall_percent,
            };
            client.update_merchant(request).await?.into_inner().merchant.into_iter().collect()
        }
        MerchantsCommand::List => {
            client.list_merchants(v1::ListMerchantsRequest {}).await?.into_inner().merchants
        }
    };
    Ok(found.iter().map(merchant_row).collect())
}

fn merchant_row(merchant: &v1::Merchant) -> Value {
    let late = if merchant.late_policy() == v1::LatePolicy::Honor { "honor" } else { "reject" };
    let points = merchant.shortfall_basis_points;
    json!({
        "id": merchant.id,
        "name": merchant.name,
        "approved": merchant.approved,
        "late": late,
        "shortfall_percent": format!("{}.{:02}", points / 100, points % 100),
    })
}

async fn keys(channel: Channel, command: KeysCommand) -> Result<Vec<Value>, Status> {
    let mut client = ApiKeyServiceClient::new(channel);
    match command {
        KeysCommand::Create { merchant, name, full_view } => {
            let view = if full_view { v1::RestView::Full } else { v1::RestView::Basic };
            let request =
                v1::CreateApiKeyRequest { merchant_id: merchant, name, rest_view: view.into() };
            let created = client.create_api_key(request).await?.into_inner();
            Ok(vec![json!({
                "api_key": created.key.map(|key| key.api_key),
                "api_secret": created.api_secret,
                "app_key": created.app_key,
            })])
        }
        KeysCommand::Set { key, name, view } => {
            let view = view.map(|view| match view {
                KeyView::Basic => v1::RestView::Basic.into(),
                KeyView::Full => v1::RestView::Full.into(),
            });
            let request = v1::UpdateApiKeyRequest { api_key: key, name, rest_view: view };
            let key = client.update_api_key(request).await?.into_inner().key;
            Ok(key.iter().map(key_row).collect())
        }
        KeysCommand::Revoke { key } => {
            let request = v1::RevokeApiKeyRequest { api_key: key };
            let key = client.revoke_api_key(request).await?.into_inner().key;
            Ok(key.iter().map(key_row).collect())
        }
        KeysCommand::List { merchant } => {
            let request = v1::ListApiKeysRequest { merchant_id: merchant };
            let keys = client.list_api_keys(request).await?.into_inner().keys;
            Ok(keys.iter().map(key_row).collect())
        }
    }
}

async fn webhook(channel: Channel, command: WebhookCommand) -> Result<Vec<Value>, Status> {
    let WebhookCommand::Set { key, url, events } = command;
    let request = v1::SetWebhookRequest { api_key: key, url, events };
    let key = ApiKeyServiceClient::new(channel).set_webhook(request).await?.into_inner().key;
    Ok(key.iter().map(key_row).collect())
}

async fn app_key(channel: Channel, command: AppKeyCommand) -> Result<Vec<Value>, Status> {
    let mut client = ApiKeyServiceClient::new(channel);
    let row = match command {
        AppKeyCommand::Show { key } => {
            let request = v1::GetAppKeyRequest { api_key: key };
            let answer = client.get_app_key(request).await?.into_inner();
            json!({
                "app_key": answer.app_key,
                "app_key_next": answer.app_key_next,
                "signing_secret": answer.signing_secret,
            })
        }
        AppKeyCommand::Create { key } => {
            let request = v1::CreateAppKeyRequest { api_key: key };
            let answer = client.create_app_key(request).await?.into_inner();
            json!({ "app_key": answer.app_key, "app_key_next": answer.app_key_next })
        }
        AppKeyCommand::Activate { key } => {
            let request = v1::ActivateAppKeyRequest { api_key: key };
            let answer = client.activate_app_key(request).await?.into_inner();
            json!({ "app_key": answer.app_key })
        }
    };
    Ok(vec![row])
}

fn key_row(key: &v1::ApiKey) -> Value {
    json!({
        "api_key": key.api_key,
        "name": key.name,
        "revoked": key.revoked,
        "view": if key.rest_view() == v1::RestView::Full { "full" } else { "basic" },
        "webhook_url": key.webhook_url,
        "webhook_events": key.webhook_events.join(","),
    })
}

/// A table with a head; columns are as wide as their widest value.
fn print_table(rows: &[Value]) {
    let Some(head) = rows.first().and_then(Value::as_object) else {
        println!("nothing");
        return;
    };
    let columns: Vec<&String> = head.keys().collect();
    let cell = |row: &Value, column: &str| match row.get(column) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let width = |column: &str| {
        let widest = rows.iter().map(|row| cell(row, column).chars().count()).max();
        widest.unwrap_or(0).max(column.len())
    };
    let line = |texts: Vec<String>| {
        let padded = columns
            .iter()
            .zip(texts)
            .map(|(column, text)| format!("{text:<w$}", w = width(column)));
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(columns.iter().map(|column| column.to_uppercase()).collect());
    for row in rows {
        line(columns.iter().map(|column| cell(row, column)).collect());
    }
}
